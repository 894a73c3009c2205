"""Puppets as a data set: drawn when first read, cached on the disk."""

from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from .. import pose, puppets
from ..media.square_crops import cut_square
from ..pose.draw import draw_pose
from ..pose.face_crops import Crop, crop_keypoints, face_crop
from ..pose.keypoints import PoseFrame
from ..pose.parts import mirrored as mirror
from ..pose.parts import without_parts
from ..puppets import CLIP_SIDE, BodyPose, Choreography, Identity, draw_puppet, puppet_keypoints
from ..puppets.random_stream import RandomStream
from .array_cache import ArrayCache, digest
from .crops import mirror_regions
from .data_config import DataConfig
from .frame_sets import REGIONS, Frame, Video, regions_of

CHOREOGRAPHY_SECONDS, CHOREOGRAPHY_FPS = 10, 30
GOLDEN_RATIO = 0.618034
CLOSE_UP_SCALES, CLOSE_UP_SHIFT = (0.9, 1.15), 0.06  # of the crops of the face pass; a share of their side


class PuppetFrames:
    """`identities` people for training and `held_out` more for validation; a `frame_sets.FrameSet`.

    All come from the puppets' split "train": evaluation draws other people in other dances, from "test".
    """

    def __init__(self, config: DataConfig, folder: Path):
        """folder: of caches."""
        self.config = config
        people, side = config.identities + config.held_out, drawn_side(config)
        splits = ["train"] * config.identities + ["validation"] * config.held_out
        self.videos = [Video(f"puppet {n}", config.frames, side, side, split) for n, split in enumerate(splits)]
        key = (side, people, config.frames, config.motion, config.fps, config.close_ups, drawing_fingerprint())
        self.fingerprint = digest(key)
        count = people, config.frames
        shapes = {
            "images": (np.uint8, (*count, side, side, 3)),
            "poses": (np.uint8, (*count, side, side, 3)),
            "regions": (np.float32, (*count, len(REGIONS), 4)),
            "drawn": (np.uint8, count),
        }
        self.cache = ArrayCache(folder, "puppets", key, shapes)

    def read(self, video: int, frame: int, hidden: Collection[str] = (), mirrored: bool = False) -> Frame:
        """Return a frame, drawn now if it is not cached. Pose maps that are changed are always drawn."""
        arrays, place = self.cache.open(), (video, frame)
        if not arrays["drawn"][place]:
            drawn = draw_training_frame(self.config, video, frame)
            for name, value in zip(arrays, (*drawn, 1)):
                arrays[name][place] = value  # "drawn" comes last; two processes write the same
        image, pose, regions = (np.array(arrays[name][place]) for name in ("images", "poses", "regions"))
        if hidden or mirrored:
            keypoints = without_parts(training_moment(self.config, video, frame).keypoints, hidden)
            pose = draw_pose(mirror(keypoints) if mirrored else keypoints)
        if mirrored:
            image, regions = np.ascontiguousarray(image[:, ::-1]), mirror_regions(regions, image.shape[1])
        return Frame(image, pose, regions)


@dataclass(frozen=True)
class PuppetMoment:
    """A person at one moment, and the keypoints of the picture.

    side: of the square picture that is drawn. crop: part of it that is taken; None for all.
    """

    identity: Identity
    pose: BodyPose
    keypoints: PoseFrame
    side: int
    crop: Crop | None


def draw_training_frame(config: DataConfig, video: int, frame: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return image, pose map and regions of one person at one moment, as in `Frame`."""
    moment = training_moment(config, video, frame)
    image, crop = draw_puppet(moment.identity, moment.pose, moment.side), moment.crop
    if crop is not None:
        image = cut_square(image, crop.left, crop.top, crop.side, drawn_side(config))
    return np.asarray(image), draw_pose(moment.keypoints), regions_of(moment.keypoints.people[0])


def training_moment(config: DataConfig, video: int, frame: int) -> PuppetMoment:
    """Return one person at one moment."""
    identity = Identity.from_seed(video, "train")
    if config.motion == "dance":
        pose = Choreography.from_seed(video, "train").pose(frame * CHOREOGRAPHY_FPS / config.fps)
    else:
        # Multiples of the golden ratio, modulo 1, spread the moments evenly over the choreographies.
        moment = int((frame + 1) * GOLDEN_RATIO % 1 * CHOREOGRAPHY_SECONDS * CHOREOGRAPHY_FPS)
        pose = Choreography.from_seed(1000 * video + frame, "train").pose(moment)
    side = drawn_side(config)
    if not is_close_up(config, video):
        return PuppetMoment(identity, pose, puppet_keypoints(identity, pose, side), side, None)
    crop = face_crop(puppet_keypoints(identity, pose, CLIP_SIDE).people[0])
    assert crop is not None  # a puppet faces the viewer
    crop = _varied(crop, video, frame)
    larger = round(side * CLIP_SIDE / crop.side)  # so that the crop is not enlarged
    crop = crop.scaled(larger / CLIP_SIDE)
    keypoints = crop_keypoints(puppet_keypoints(identity, pose, larger), crop.box, side, side)
    return PuppetMoment(identity, pose, keypoints, larger, crop)


def is_close_up(config: DataConfig, video: int) -> bool:
    """Return whether a video is one of the share `close_ups`, which are spread evenly."""
    return int((video + 1) * config.close_ups) > int(video * config.close_ups)


def _varied(crop: Crop, video: int, frame: int) -> Crop:
    """Return a crop moved and resized a little, as crops that are steady in time are not centred on each face."""
    rng = RandomStream("close-up", "train", video, frame)
    scale = rng.uniform(*CLOSE_UP_SCALES)
    shift_x, shift_y = (rng.uniform(-CLOSE_UP_SHIFT, CLOSE_UP_SHIFT) + (1 - scale) / 2 for _ in range(2))
    return Crop(crop.left + shift_x * crop.side, crop.top + shift_y * crop.side, scale * crop.side)


def drawn_side(config: DataConfig) -> int:
    """Return the side of the drawn pictures in pixels: large enough that no crop has to be enlarged."""
    return round(config.size / config.crop[0])


@lru_cache
def drawing_fingerprint() -> str:
    """Return a text that changes with the code that draws puppets and pose maps."""
    files = [*Path(puppets.__file__).parent.glob("*.py"), *Path(pose.__file__).parent.glob("draw*.py"), Path(__file__)]
    return digest([file.read_bytes() for file in sorted(files)])
