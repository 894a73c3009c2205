"""Small real videos of puppets, with their keypoints."""

import numpy as np
import pytest
from PIL import Image

from magicdance_core.data.parquet_shards import library
from magicdance_core.errors import InputError
from magicdance_core.media import write_animation
from magicdance_core.pose.keypoint_files import save_keypoints
from magicdance_core.pose.keypoints import PoseFrame
from magicdance_core.puppets import Choreography, Identity, draw_puppet, puppet_keypoints

WIDTH, HEIGHT, FRAMES = 48, 64, 6


@pytest.fixture(scope="session")
def streaming():
    """Skips tests where Hugging Face datasets is missing or too old."""
    try:
        library("datasets")
    except InputError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def films(tmp_path_factory):
    """A folder of four videos, and one of their keypoints: in "c" two frames show nobody, "d" is no video."""
    videos, poses = tmp_path_factory.mktemp("films"), tmp_path_factory.mktemp("poses")
    for number, name in enumerate("abc"):
        identity, dance = Identity.from_seed(number), Choreography.from_seed(number)
        moments = [dance.pose(10 * k) for k in range(FRAMES)]
        with write_animation(videos / f"{name}.mp4", 30) as add:
            for moment in moments:
                add(draw_puppet(identity, moment, WIDTH, HEIGHT))
        frames = [puppet_keypoints(identity, moment, WIDTH, HEIGHT) for moment in moments]
        if name == "c":
            frames[2] = frames[3] = PoseFrame((), WIDTH, HEIGHT)
        save_keypoints(poses / f"{name}.npz", frames)
    (videos / "d.mp4").write_bytes(b"nothing")
    save_keypoints(poses / "d.npz", [PoseFrame((), WIDTH, HEIGHT)])
    return videos, poses


@pytest.fixture(scope="session")
def disco(tmp_path_factory):
    """Three videos laid out as DisCo's: pictures, OpenPose JSON and masks; one frame of "002" lacks its pose."""
    import json

    from magicdance_core.pose import frames_to_pose_keypoint

    root = tmp_path_factory.mktemp("disco")
    for number in range(3):
        folder, identity = root / f"{number + 1:03d}", Identity.from_seed(number)
        for name in ("groundsam", "openpose_json"):
            (folder / name).mkdir(parents=True)
        for k in range(4):
            pose = Choreography.from_seed(number).pose(10 * k)
            draw_puppet(identity, pose, WIDTH, HEIGHT).save(folder / f"{k:04d}.png")
            mask = np.zeros((HEIGHT, WIDTH), np.uint8)
            mask[:, 10:40] = 255
            Image.fromarray(mask).save(folder / "groundsam" / f"{k:04d}.png")
            if (number, k) != (1, 2):
                (data,) = frames_to_pose_keypoint([puppet_keypoints(identity, pose, WIDTH, HEIGHT)])
                (folder / "openpose_json" / f"{k:04d}.png.json").write_text(json.dumps({"people": data["people"]}))
    return root
