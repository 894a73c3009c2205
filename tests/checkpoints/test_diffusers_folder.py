"""diffusers folders: saving, loading, stock folders, damaged files, and conversion."""

import json
import shutil

import diffusers
import pytest
import torch
from safetensors.torch import load_file, save_file

from magicdance_core import files as files_module
from magicdance_core.checkpoints import convert, load, load_control, load_folder, load_published, save_folder
from magicdance_core.errors import InputError

ROLES = ("unet", "vae", "appearance", "pose")


def same(one, other):
    """Equal weights, rounded to the dtype of `one`."""
    other = other.state_dict()
    return all(torch.equal(value, other[key].to(value.dtype)) for key, value in one.state_dict().items())


@pytest.fixture
def folder(tiny, tmp_path):
    save_folder(tmp_path / "model", tiny)
    return tmp_path / "model"


def assert_equal(one, other):
    for role in ROLES:
        assert same(getattr(one, role), getattr(other, role)), role
    assert torch.equal(one.context, other.context) and one.defaults == other.defaults
    assert one.scheduler.config.prediction_type == other.scheduler.config.prediction_type


def test_saved_folder_is_loaded_again(make_tiny, tmp_path):
    tiny = make_tiny("v_prediction")
    save_folder(tmp_path / "model", tiny)
    loaded = load_folder(tmp_path / "model")
    assert_equal(loaded, tiny)
    assert type(loaded.scheduler) is diffusers.DDIMScheduler and not loaded.unet.training
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model"]


def test_published_model_survives_a_folder(published, tmp_path):
    save_folder(tmp_path / "model", published, torch.float16)
    loaded = load_folder(tmp_path / "model")
    assert loaded.unet.dtype == loaded.text_encoder.dtype == torch.float16
    assert same(loaded.text_encoder, published.text_encoder) and same(loaded.vae, published.vae)
    assert published.unet.dtype == torch.float32  # saving changes nothing in the model


def test_stock_diffusers_reads_the_networks(folder, tiny):
    for kind, name in ((diffusers.UNet2DConditionModel, "unet"), (diffusers.ControlNetModel, "pose_control_model")):
        network = kind.from_pretrained(folder, subfolder=name)
        assert same(network, tiny.unet if name == "unet" else tiny.pose)


def test_scheduler_is_saved(tiny, tmp_path):
    tiny.scheduler = diffusers.UniPCMultistepScheduler.from_config(tiny.scheduler.config)
    save_folder(tmp_path / "model", tiny)
    assert isinstance(load(tmp_path / "model").scheduler, diffusers.UniPCMultistepScheduler)


def test_stock_stable_diffusion_folder(published, tmp_path):
    stock = tmp_path / "stock"
    published.unet.save_pretrained(stock / "unet", max_shard_size="10MB")  # in shards
    published.vae.save_pretrained(stock / "vae")
    published.text_encoder.save_pretrained(stock / "text_encoder")
    diffusers.PNDMScheduler(prediction_type="v_prediction").save_pretrained(stock / "scheduler")
    (stock / "model_index.json").write_text('{"_class_name": "StableDiffusionPipeline"}')
    vae = stock / "vae" / "diffusion_pytorch_model.safetensors"
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    weights = load_file(vae)
    for ours, theirs in old.items():
        weights = {key.replace(f".{ours}.", f".{theirs}."): value for key, value in weights.items()}
    save_file(weights, vae)  # as the hub's Stable Diffusion 1.5 names them
    loaded = load_folder(stock)
    assert loaded.appearance is None and loaded.pose is None
    assert same(loaded.unet, published.unet) and same(loaded.vae, published.vae)
    assert torch.equal(loaded.context, published.context)
    assert isinstance(loaded.scheduler, diffusers.DDIMScheduler)
    assert loaded.scheduler.config.prediction_type == "v_prediction"


def test_controls_are_loaded_alone(folder, tiny):
    assert same(load_control(folder, "pose"), tiny.pose)
    assert same(load_control(folder / "appearance_control_model", "appearance", torch.bfloat16), tiny.appearance)
    assert load(folder, controls=False).appearance is None


def test_an_existing_model_is_replaced(folder, make_tiny):
    (folder / "unet" / "stale.bin").touch()
    other = make_tiny(seed=1)
    save_folder(folder, other)
    assert_equal(load_folder(folder), other)
    assert not (folder / "unet" / "stale.bin").exists()


def test_other_folders_are_not_overwritten(tiny, tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="contains other things than a model"):
        save_folder(tmp_path, tiny)
    assert (tmp_path / "thesis.txt").exists()


@pytest.mark.parametrize("damage", ["unet/config.json", "unet/diffusion_pytorch_model.safetensors", "model_index.json"])
def test_missing_files_are_named(folder, damage):
    (folder / damage).unlink()
    with pytest.raises(InputError, match="model folder"):
        load_folder(folder)


def test_damaged_files_are_named(folder, tmp_path):
    (folder / "vae" / "config.json").write_text("{")
    with pytest.raises(InputError, match="damaged"):
        load_folder(folder)
    with pytest.raises(InputError, match="not a folder"):
        load_folder(tmp_path / "absent")
    shutil.rmtree(folder / "vae")
    with pytest.raises(InputError, match="vae"):
        load_folder(folder)


def test_missing_weights_are_named(folder):
    path = folder / "pose_control_model" / "diffusion_pytorch_model.safetensors"
    weights = load_file(path)
    del weights["conv_in.bias"]
    save_file(weights, path)
    with pytest.raises(InputError, match=r"does not fit the Pose ControlNet; tensors 1 missing \(conv_in.bias\)"):
        load_folder(folder)


def test_unknown_schedulers_are_refused(folder):
    path = folder / "scheduler" / "scheduler_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"_class_name": "os"}))
    with pytest.raises(InputError, match="'os' is not a supported scheduler"):
        load_folder(folder)


def test_converting_to_a_file_and_back_changes_nothing(published_files, published, tmp_path):
    convert(published_files[".th"], tmp_path / "folder", torch.float16)
    convert(tmp_path / "folder", tmp_path / "half.safetensors")
    assert (tmp_path / "half.safetensors").stat().st_size < 0.52 * published_files[".th"].stat().st_size
    loaded = load_published(tmp_path / "half.safetensors")
    assert loaded.unet.dtype == torch.float16
    assert all(same(getattr(loaded, role), getattr(published, role)) for role in ROLES)


def test_single_file_keeps_configurations_that_shapes_do_not_show(make_tiny, tmp_path):
    tiny = make_tiny("v_prediction")
    save_folder(tmp_path / "model", tiny)
    convert(tmp_path / "model", tmp_path / "model.safetensors")
    loaded = load_published(tmp_path / "model.safetensors")
    assert_equal(loaded, tiny)
    assert loaded.unet.config.norm_num_groups == 8 and loaded.text_encoder is None
    convert(tmp_path / "model.safetensors", tmp_path / "again")
    assert_equal(load_folder(tmp_path / "again"), tiny)


@pytest.mark.parametrize("target", ["out.safetensors", "out"])
def test_failed_conversions_leave_nothing(folder, tmp_path, monkeypatch, target):
    before = sorted(tmp_path.iterdir())
    with monkeypatch.context() as patch:
        patch.setattr(files_module.shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(1, 1, 0))
        with pytest.raises(InputError, match="GB are free"):
            convert(folder, tmp_path / target)
    with monkeypatch.context() as patch:
        patch.setattr(files_module.os, "replace", lambda *names: (_ for _ in ()).throw(OSError(28, "No space left")))
        with pytest.raises(InputError, match="Cannot write .*No space left"):
            convert(folder, tmp_path / target)
    with monkeypatch.context() as patch:
        patch.setattr(files_module.os, "replace", lambda *names: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            convert(folder, tmp_path / target)
    assert sorted(tmp_path.iterdir()) == before


def test_bad_targets_are_refused(folder, tmp_path):
    with pytest.raises(InputError, match="neither a folder nor .safetensors"):
        convert(folder, tmp_path / "out.ckpt")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="no folder that you may write to"):
        convert(tmp_path / "absent", tmp_path / "file" / "out.safetensors")
