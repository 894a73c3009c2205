"""Videos and frames are matched, or what is missing is named."""

import numpy as np
import pytest
from PIL import Image

from magicdance_core.errors import InputError
from magicdance_core.evaluation.videos import ONLY, frame_pairs, match_videos, videos_by_name
from magicdance_core.media import write_animation


def animation(path, pictures):
    with write_animation(path, 10) as add:
        for picture in pictures:
            add(Image.fromarray(picture))
    return path


def test_folders_and_files_are_videos(tmp_path, write_videos, square):
    write_videos(tmp_path, {"b": square(1), "a": square(1)})
    animation(tmp_path / "c.mp4", square(2))
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "notes.txt").touch()
    assert {name: path.name for name, path in videos_by_name(tmp_path).items()} == {"a": "a", "b": "b", "c": "c.mp4"}
    assert videos_by_name(tmp_path / "a") == {ONLY: tmp_path / "a"}
    assert videos_by_name(tmp_path / "c.mp4") == {ONLY: tmp_path / "c.mp4"}


def test_paths_without_unique_videos_are_refused(tmp_path, write_videos, square):
    with pytest.raises(InputError, match="holds no videos"):
        videos_by_name(tmp_path)
    write_videos(tmp_path, {"a": square(1)})
    Image.new("RGB", (8, 8)).save(tmp_path / "x.png")
    with pytest.raises(InputError, match="videos and single pictures .x.png"):
        videos_by_name(tmp_path)
    (tmp_path / "x.png").unlink()
    animation(tmp_path / "a.gif", square(2))
    with pytest.raises(InputError, match="two videos named a"):
        videos_by_name(tmp_path)
    with pytest.raises(InputError, match="does not exist"):
        videos_by_name(tmp_path / "absent")


def test_videos_of_a_method_must_match_the_truths(tmp_path, write_videos, square):
    true = videos_by_name(write_videos(tmp_path / "true", {"a": square(1), "b": square(1)}))
    made = write_videos(tmp_path / "made", {"b": square(1), "a": square(1)})
    assert list(match_videos(made, true, "true")) == ["a", "b"]
    (tmp_path / "made" / "a" / "0000.png").rename(tmp_path / "made" / "b" / "0001.png")
    (tmp_path / "made" / "a").rmdir()
    with pytest.raises(InputError, match="made lacks 1 of the videos in true .a"):
        match_videos(made, true, "true")
    write_videos(made, {"a": square(1), "c": square(1)})
    with pytest.raises(InputError, match="true lacks 1 of the videos in .*made .c"):
        match_videos(made, true, "true")
    alone = write_videos(tmp_path / "alone", {"other name": square(1)})
    assert match_videos(alone, {ONLY: tmp_path}, "x") == {ONLY: alone / "other name"}


def test_a_gif_has_as_many_frames_as_were_put_in(tmp_path, square):
    pictures = square(16)
    made = animation(tmp_path / "a.gif", pictures)
    pairs = list(frame_pairs(made, animation(tmp_path / "b.gif", pictures)))
    assert len(pairs) == 16
    for (one, other), picture in zip(pairs, pictures):
        assert one.tobytes() == other.tobytes()
        assert np.abs(np.asarray(one).astype(int) - picture).mean() < 12  # a palette of 256 colours


def test_a_truncated_video_is_refused(tmp_path, square):
    whole = animation(tmp_path / "a.mp4", square(40, noise=60, size=(64, 64)))
    data = whole.read_bytes()
    (tmp_path / "b.mp4").write_bytes(data[: len(data) * 2 // 3])
    with pytest.raises(InputError, match="b.mp4"):
        list(frame_pairs(tmp_path / "b.mp4", whole))
