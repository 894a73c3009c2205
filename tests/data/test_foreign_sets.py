"""Data sets of strangers: they read and write nothing outside of their folder, and are refused in one sentence."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from magicdance_core.__main__ import main
from magicdance_core.data import open_frames
from magicdance_core.data.data_config import DataConfig
from magicdance_core.data.index_files import is_video_name, safe_name
from magicdance_core.data.layouts import read_caption, read_layout
from magicdance_core.data.parquet_shards import library, read_shards
from magicdance_core.data.prepare import Filters, Output, find_videos, prepare_video
from magicdance_core.data.unfinished_video import UnfinishedVideo, read_record
from magicdance_core.errors import InputError
from magicdance_core.files import check_folder
from magicdance_core.limits import MAX_FRAMES
from magicdance_core.pose.keypoints import PoseFrame

SECRET = b"a secret of this machine"


@pytest.fixture(scope="module")
def made(films, tmp_path_factory):
    out = tmp_path_factory.mktemp("made")
    command = ["dataset", str(films[0]), "--poses", str(films[1]), "--out", str(out / "set"), "--test", "0"]
    assert main([*command, "--validation", "0"]) == 0
    assert main(["shards", str(out / "set"), "--out", str(out / "shards"), "--frames", "6"]) == 0
    return out


@pytest.fixture
def folder(made, tmp_path):
    (tmp_path / "secret").write_bytes(SECRET)
    for name in ("set", "shards"):
        shutil.copytree(made / name, tmp_path / "in" / name)
    return tmp_path / "in"


def change(file, edit):
    values = json.loads(file.read_text())
    edit(values)
    file.write_text(json.dumps(values))


def refused(capsys, *arguments):
    assert main([str(argument) for argument in arguments]) == 2
    message = capsys.readouterr().err.split("\r")[-1].strip()
    assert message.startswith("magicdance: ") and "\n" not in message
    return message


VIDEO_EDITS = {
    "name": ("../../secret", "/etc", "..", "", ".hidden", "a/b", "a\nb", "a\x1b[2J", 7, None, "x" * 200),
    "frames": ([], ["1"], [-1], [2, 1], [10**12], 5, [0] * 3, [True]),
    "width": (0, -1, "64", 10**9, 1.5),
    "split": ("../train", "train/..", "", "Train", 3, ["train"]),
    "maps": ("yes", 3),
    "caption": (5, "x" * 20_000),
}


@pytest.mark.parametrize("key, value", [(key, value) for key, values in VIDEO_EDITS.items() for value in values])
def test_an_index_with_a_wrong_value_is_refused(folder, capsys, key, value):
    change(folder / "set" / "index.json", lambda index: index["videos"][0].__setitem__(key, value))
    message = refused(capsys, "shards", folder / "set", "--out", folder / "out")
    assert "index.json is damaged (videos[0]" in message and not (folder / "out").exists()


@pytest.mark.parametrize("suffix", ["/../../../../secret", "jpg/../../secret", "txt", "", 3])
def test_the_suffix_of_pictures_is_jpg_or_png(folder, capsys, suffix):
    change(folder / "set" / "index.json", lambda index: index.update(suffix=suffix))
    assert "suffix" in refused(capsys, "shards", folder / "set", "--out", folder / "out")


@pytest.mark.parametrize("where", ["videos/a/000001.jpg", "videos/a/keypoints.npz", "videos/a", "index.json", "x"])
def test_a_link_out_of_a_data_set_is_refused(folder, capsys, where):
    path = folder / "set" / where
    target = folder.parent / "secret"
    if path.exists():
        target = folder.parent / "outside"
        shutil.move(path, target)
    path.symlink_to(target)
    message = refused(capsys, "shards", folder / "set", "--out", folder / "out")
    assert "leads out of the folder" in message and not (folder / "out").exists()
    with pytest.raises(InputError, match="leads out of the folder"):
        open_frames(DataConfig(kind="videos", folder=str(folder / "set"), size=32), folder)


def test_a_video_that_is_a_link_out_of_its_folder_is_refused(films, tmp_path):
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "a.mp4").symlink_to(films[0] / "a.mp4")
    with pytest.raises(InputError, match="leads out of the folder"):
        find_videos([tmp_path / "videos"])
    assert list(find_videos([tmp_path / "videos" / "a.mp4"])) == ["a"]  # named by the user


def test_links_within_a_data_set_are_followed(folder):
    path = folder / "set" / "videos" / "a" / "000001.jpg"
    path.unlink()
    path.symlink_to("000000.jpg")
    assert len(read_layout(folder / "set")) == 3


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
@pytest.mark.parametrize("where", ["set/videos/a/000001.jpg", "set/index.json", "shards/train-00000.parquet"])
def test_a_pipe_in_a_data_set_is_refused_instead_of_waited_for(folder, where):
    (folder / where).unlink()
    os.mkfifo(folder / where)
    with pytest.raises(InputError, match="neither a file nor a folder|is no file"):
        open_frames(DataConfig(kind="videos", folder=str((folder / where).parent), size=32, crops=0), folder)
        read_layout(folder / "set")
    with pytest.raises(InputError, match="neither a file nor a folder: remove it"):
        check_folder(folder)


CLIP_EDITS = {
    "name": ("a\x1b[31m", "", 3),
    "frames": (10**9, MAX_FRAMES + 1, 0, "6", 5.0),
    "height": (10**9, 0),
    "split": ("../../train", "none"),
    "runs": ([[0, 10**9]], [[5, 1], [0, 1]], [[0]], "x", [[0, 0]]),
}


@pytest.mark.parametrize("key, value", [(key, value) for key, values in CLIP_EDITS.items() for value in values])
def test_an_index_of_shards_with_a_wrong_value_is_refused(folder, key, value):
    change(folder / "shards" / "index.json", lambda index: index["files"][0]["clips"][0].__setitem__(key, value))
    with pytest.raises(InputError, match=r"index.json is damaged \(files\[0\]: clips\[0\]"):
        read_shards(folder / "shards")


@pytest.mark.parametrize(
    "name", ["../secret", "/etc/passwd", "..", "a.txt", "x/../../../secret.parquet", 5, ".parquet"]
)
def test_shards_are_files_of_their_folder(folder, name):
    change(folder / "shards" / "index.json", lambda index: index["files"][0].update(name=name))
    with pytest.raises(InputError, match="index.json is damaged .*name"):
        read_shards(folder / "shards")


def test_a_file_with_fewer_clips_than_its_index_claims_is_refused(folder, streaming):
    change(
        folder / "shards" / "index.json", lambda index: index["files"][0]["clips"].extend(index["files"][0]["clips"])
    )
    frames = open_frames(DataConfig(kind="videos", folder=str(folder / "shards"), size=32, crops=0), folder)
    with pytest.raises(InputError, match="has 3 clips, and the index 6: export the data set again"):
        frames.read(5, 0)


@pytest.mark.parametrize(
    "column, value", [("pictures", [b"no picture"] * 6), ("keypoints", ["{"] * 6), ("pictures", [])]
)
def test_a_damaged_row_is_named(folder, streaming, column, value):
    pyarrow = library("pyarrow")
    (file,) = (folder / "shards").glob("*.parquet")
    table = pyarrow.parquet.read_table(file)
    rows = [row | {column: value} for row in table.to_pylist()]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows, table.schema), file, row_group_size=1)
    frames = open_frames(DataConfig(kind="videos", folder=str(folder / "shards"), size=32, crops=0), folder)
    with pytest.raises(InputError, match="picture 0"):
        frames.read(0, 0)


def test_streaming_writes_nowhere_but_in_its_cache(folder, streaming):
    import datasets

    home, cache = Path(datasets.config.HF_DATASETS_CACHE), folder / "cache"
    frames = open_frames(DataConfig(kind="videos", folder=str(folder / "shards"), size=32, crops=0), cache)
    before = sorted((folder / "shards").rglob("*")), sorted(home.rglob("*"))
    frames.read(0, 0)
    assert not list(cache.rglob("*")) and before == (sorted((folder / "shards").rglob("*")), sorted(home.rglob("*")))


@pytest.mark.parametrize("link", ["videos", "videos/a", "contact_sheet.png", "videos/.a.unfinished"])
def test_a_prepared_set_writes_nothing_through_links(folder, films, link):
    outside = folder / "outside"
    outside.mkdir()
    path = folder / "new" / link
    path.parent.mkdir(parents=True)
    path.symlink_to(outside, target_is_directory=True)
    command = ["dataset", str(films[0] / "a.mp4"), "--poses", str(films[1]), "--out", str(folder / "new")]
    assert main(command) == 2 and not any(outside.iterdir())


def test_an_unfinished_video_that_is_a_link_is_made_anew(folder):
    outside = folder / "outside"
    outside.mkdir()
    (folder / ".a.unfinished").symlink_to(outside)
    UnfinishedVideo(folder / ".a.unfinished", {}, "png", None)
    assert not any(outside.iterdir()) and not (folder / ".a.unfinished").is_symlink()


@pytest.mark.parametrize(
    "edit",
    [
        {"examples": {"nobody": "../../../secret"}},
        {"dropped": {"nobody": "many"}},
        {"settings": {"fps": float("nan")}},
        {"frames": ["a"]},
        {"width": 0},
        {"name": "../a"},
        {"total": None},
    ],
)
def test_a_damaged_record_is_one_sentence(folder, edit):
    file = folder / "set" / "videos" / "a" / "record.json"
    change(file, lambda record: record.update(edit))
    with pytest.raises(InputError, match=r"record.json is damaged \(.*\): remove its folder"):
        read_record(file)


def test_captions_that_lead_elsewhere_or_never_end_are_refused(tmp_path):
    (tmp_path / "secret").write_bytes(SECRET)
    folder = tmp_path / "videos"
    folder.mkdir()
    (folder / "a.txt").symlink_to(tmp_path / "secret")
    with pytest.raises(InputError, match="leads out of the folder"):
        read_caption(folder / "a.mp4")
    (folder / "b.txt").write_text("word " * 5000)
    with pytest.raises(InputError, match="give a caption of at most 10,000"):
        read_caption(folder / "b.mp4")
    (folder / "c.txt").write_text("a \x1b[2Jwoman\n dances")
    assert read_caption(folder / "c.mp4") == r"a \x1b[2Jwoman dances"


@pytest.mark.parametrize(
    "name, safe",
    [
        ("a b (1)", "a b (1)"),
        ("舞", "舞"),
        (".x", "_x"),
        ("a\nb\x1b", "a_b_"),
        ("\udcff", "_"),
        ("a/b", "a_b"),
        ("..", "_."),
    ],
)
def test_names_of_videos_are_printable_and_no_paths(name, safe):
    assert safe_name(name) == safe and is_video_name(safe) and is_video_name(name) == (name == safe)


def test_names_with_control_characters_and_undecodable_bytes_become_safe_ones(films, tmp_path):
    name = os.fsdecode(b"x\x1b[2J\xff\n.mp4")
    try:
        shutil.copy(films[0] / "a.mp4", tmp_path / name)
    except OSError:
        pytest.skip("the file system allows no such names")
    assert list(find_videos([tmp_path])) == ["x_[2J__"]


class Nobody:
    def reset(self):
        pass

    def detect(self, picture):
        return ()


def test_another_video_of_the_same_name_is_told(films, tmp_path):
    prepare_video("x", films[0] / "a.mp4", tmp_path, Nobody(), None, Filters(), Output())
    shutil.copy(films[0] / "a.mp4", tmp_path / "copy.mp4")
    record = prepare_video("x", tmp_path / "copy.mp4", tmp_path, Nobody(), None, Filters(), Output())
    assert record["total"] == 6
    with pytest.raises(InputError, match="was made from another video: rename .*b.mp4, or give another --out"):
        prepare_video("x", films[0] / "b.mp4", tmp_path, Nobody(), None, Filters(), Output())


def test_a_picture_that_a_full_disk_cuts_short_is_no_picture_of_the_set(tmp_path, monkeypatch):
    write = Path.write_bytes
    monkeypatch.setattr(Path, "write_bytes", lambda self, data: write(self, data[: len(data) // 2]))
    work = UnfinishedVideo.__new__(UnfinishedVideo)
    work.folder, work.suffix, work.short_side, work.poses = tmp_path, "jpg", None, []
    with pytest.raises(InputError, match="No space left"):
        work.add(np.zeros((8, 8, 3), np.uint8), PoseFrame((), 8, 8), None)
    assert not list(tmp_path.iterdir())


def test_a_killed_export_leaves_no_temporary_file_once_it_is_repeated(folder, monkeypatch):
    from magicdance_core import files

    dead = f".train-00000.parquet.magicdance-{files._MACHINE}-{2**22 + 1}-{'0' * 16}.part"
    (folder / "shards" / dead).write_bytes(b"PAR1")
    files.remove_leftovers.cache_clear()
    assert main(["shards", str(folder / "set"), "--out", str(folder / "shards"), "--frames", "6"]) == 0
    assert not (folder / "shards" / dead).exists()


def test_a_picture_of_another_size_than_the_index_says_is_refused(folder):
    Image.new("RGB", (10, 10)).save(folder / "set" / "videos" / "a" / "000000.jpg")
    frames = open_frames(DataConfig(kind="videos", folder=str(folder / "set"), size=32), folder)
    with pytest.raises(InputError, match="give one size"):
        frames.read(0, 0)
