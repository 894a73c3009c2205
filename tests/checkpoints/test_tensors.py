"""Reading tensor files lazily, and messages for bad files."""

import pickle
import typing
import zipfile
from collections import OrderedDict

import pytest
import torch
from safetensors.torch import save_file

from magicdance_core.checkpoints import tensors
from magicdance_core.checkpoints.tensors import TensorFile, write_tensors
from magicdance_core.errors import InputError

STATE = {"a.weight": torch.arange(6.0).reshape(2, 3), "b": torch.ones(2, dtype=torch.float16)}


def write(path, state):
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(state, path)
    return path


@pytest.mark.parametrize("name", ["m.safetensors", "m.th", "m.ckpt", "m.pth", "m.pt"])
def test_written_tensors_are_read(tmp_path, name):
    file = TensorFile(write(tmp_path / name, STATE))
    assert file.shapes == {"a.weight": (2, 3), "b": (2,)}
    read = dict(file.read(["b", "a.weight"]))
    assert all(torch.equal(read[key], STATE[key]) and read[key].dtype == STATE[key].dtype for key in STATE)


def test_format_before_torch_1_6_is_read(tmp_path):
    torch.save(STATE, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert TensorFile(tmp_path / "old.pth").shapes["a.weight"] == (2, 3)


def test_wrapper_prefixes_and_other_values_are_ignored(tmp_path):
    state = {"module._orig_mod.x": STATE["b"], "net._orig_mod.y": STATE["b"], "motion_modules.z": STATE["b"]}
    path = write(tmp_path / "m.ckpt", {"state_dict": state, "epoch": 3})
    assert set(TensorFile(path).shapes) == {"x", "net.y", "motion_modules.z"}


def test_shards_are_read_as_one_file(tmp_path):
    paths = [write(tmp_path / f"{key[0]}.safetensors", {key: value}) for key, value in STATE.items()]
    file = TensorFile(*paths)
    assert dict(file.read(STATE)).keys() == STATE.keys()


class Evil:
    def __reduce__(self):
        return print, ("code ran",)


def test_code_is_never_run(tmp_path, capsys):
    path = tmp_path / "evil.ckpt"
    torch.save({"state_dict": STATE, "callback": Evil()}, path)
    with pytest.raises(InputError, match="evil.ckpt contains Python code"):
        TensorFile(path)
    path.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(InputError, match="evil.ckpt"):
        TensorFile(path)
    assert "code ran" not in capsys.readouterr().out


def test_an_ordered_dict_of_typing_is_no_code(tmp_path):
    """It is in files whose authors wrote `from typing import OrderedDict`; torch alone refuses them."""
    saved = typing.OrderedDict()
    saved["state_dict"] = OrderedDict(STATE)
    torch.save(saved, tmp_path / "typed.pth")
    read = dict(TensorFile(tmp_path / "typed.pth").read(STATE))
    assert all(torch.equal(read[name], value) for name, value in STATE.items())
    if hasattr(torch.serialization, "safe_globals"):
        assert typing.OrderedDict not in torch.serialization.get_safe_globals()  # allowed to no other reader
    torch.save({"state_dict": STATE, "callback": typing.List}, tmp_path / "other.pth")  # noqa: UP006
    with pytest.raises(InputError, match="contains Python code"):
        TensorFile(tmp_path / "other.pth")


@pytest.mark.parametrize("suffix", [".safetensors", ".th", ".ckpt", ".txt"])
@pytest.mark.parametrize("content", [b"", b"version https://git-lfs.github.com/spec/v1", b"<html>", b"\x80\x02]q\x00."])
def test_foreign_files_are_refused(tmp_path, suffix, content):
    path = tmp_path / f"foreign{suffix}"
    path.write_bytes(content)
    with pytest.raises(InputError, match=f"foreign{suffix} .*download it again"):
        TensorFile(path)


@pytest.mark.parametrize("name", ["m.safetensors", "m.th"])
def test_truncated_files_are_refused(tmp_path, name):
    path = write(tmp_path / name, {"x": torch.randn(1000)})
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(InputError, match=f"{name} is damaged"):
        TensorFile(path)


def test_missing_empty_and_folder_paths_are_refused(tmp_path):
    for path in (tmp_path / "absent.th", tmp_path):
        with pytest.raises(InputError, match="does not exist|is no file"):
            TensorFile(path)
    with pytest.raises(InputError, match="has no tensors"):
        TensorFile(write(tmp_path / "none.pt", {"epoch": 3}))


def raising(error):
    def fail(*args, **options):
        raise error

    return fail


@pytest.mark.parametrize("name", ["m.safetensors", "m.th"])
def test_memory_errors_are_not_reported_as_damage(tmp_path, monkeypatch, name):
    path = write(tmp_path / name, STATE)
    with monkeypatch.context() as patch:
        patch.setattr(type(path), "open", raising(PermissionError(13, "Permission denied")))
        with pytest.raises(InputError, match=f"{name} cannot be opened .Permission denied.: check its permissions"):
            TensorFile(path)
    for error in (MemoryError(), RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 4 bytes")):
        with monkeypatch.context() as patch:
            patch.setattr(tensors, "safe_open", raising(error))
            patch.setattr(torch, "load", raising(error))
            with pytest.raises(InputError, match=f"{name} does not fit into free memory"):
                TensorFile(path)


def zipped(path, size, compression=zipfile.ZIP_DEFLATED):
    """A torch file whose pickle is `size` bytes of nothing."""
    torch.save(STATE, path)
    with zipfile.ZipFile(path) as archive:
        entries = {entry: archive.read(entry) for entry in archive.namelist()}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in entries.items():
            with archive.open(name, "w") as file:
                file.write(content)
                for _ in range(size // 2**20 if name.endswith("data.pkl") else 0):
                    file.write(bytes(2**20))
    return path


def test_decompression_bombs_are_refused(tmp_path):
    path = zipped(tmp_path / "bomb.th", 2**27)
    assert path.stat().st_size < 2**20
    with pytest.raises(InputError, match="bomb.th would unpack to 0.1 GB"):
        TensorFile(path)


def test_tensors_larger_than_their_storage_are_refused(tmp_path):
    torch.save({"w": torch.zeros(1).expand(10**6, 10**6)}, tmp_path / "m.th")
    with pytest.raises(InputError, match="w claims more values than the file has"):
        TensorFile(tmp_path / "m.th")


@pytest.mark.parametrize(
    "state", [[STATE["b"]], STATE["b"], {0: STATE["b"]}, {"state_dict": [1]}, {"a": {"b": STATE["b"]}}]
)
def test_other_pickled_objects_are_refused(tmp_path, state):
    torch.save(state, tmp_path / "m.pt")
    with pytest.raises(InputError, match="m.pt has (no .*tensors|tensors with numbers|no tensors)"):
        TensorFile(tmp_path / "m.pt")


@pytest.mark.parametrize("name", ["m.safetensors", "m.th"])
@pytest.mark.parametrize(
    ("tensor", "says"),
    [
        (torch.tensor([1, 2]), "int64"),
        (torch.tensor([True]), "bool"),
        (torch.tensor([1.0, float("nan")]), "not finite"),
        (torch.tensor([1.0, float("-inf")]).half(), "not finite"),
    ],
)
def test_weights_must_be_finite(tmp_path, name, tensor, says):
    file = TensorFile(write(tmp_path / name, {"x": tensor}))
    with pytest.raises(InputError, match=f"{name}: x .*{says}"):
        dict(file.read(["x"]))


def test_equal_tensors_and_metadata_give_equal_files(tmp_path):
    about = {"magicdance": '{"name": "ä\\u0001\\"/"}', "a": "1", "z": "\n\x7f\x01"}
    files = [tmp_path / f"{number}.safetensors" for number in range(8)]
    for file in files:
        write_tensors(file, STATE, about)
    assert len({file.read_bytes() for file in files}) == 1
    read = TensorFile(files[0])
    assert read.metadata == about | {"format": "pt"}
    assert all(torch.equal(tensor, STATE[name]) for name, tensor in read.read(STATE))
