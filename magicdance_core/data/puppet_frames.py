"""Puppets as a data set: drawn when first asked for, kept on the disk."""

import hashlib
from functools import lru_cache
from pathlib import Path

import numpy as np

from .. import pose, puppets
from ..errors import InputError
from ..files import atomic_folder
from ..pose.draw import draw_pose
from ..puppets import Choreography, Identity, draw_puppet, puppet_keypoints
from .data_config import DataConfig
from .frame_sets import REGIONS, Frame, Video, regions_of

CHOREOGRAPHY_SECONDS, CHOREOGRAPHY_FPS = 10, 30
ARRAYS = ("images", "poses", "regions", "drawn")


class PuppetFrames:
    """`identities` people for training and `held_out` more for validation; a `frame_sets.FrameSet`.

    All come from the puppets' split "train": evaluation draws other people in other dances from "test".
    """

    def __init__(self, config: DataConfig, cache: Path):
        """cache: a folder for the drawn pictures, which several runs and processes may share."""
        self.config = config
        people, side = config.identities + config.held_out, drawn_side(config)
        self.videos = [
            Video(
                f"puppet {n}",
                config.frames,
                side,
                side,
                "train" if n < config.identities else "validation",
            )
            for n in range(people)
        ]
        settings = (side, people, config.frames, config.motion, config.fps, drawing_fingerprint())
        self.fingerprint = hashlib.blake2b(repr(settings).encode(), digest_size=8).hexdigest()
        self.folder = cache / f"puppets-{self.fingerprint}"
        self._arrays: dict[str, np.ndarray] | None = None

    def read(self, video: int, frame: int) -> Frame:
        arrays = self._open()
        place = video, frame
        if not arrays["drawn"][place]:
            drawn = draw_training_frame(self.config, video, frame)
            for name, value in zip(ARRAYS, (*drawn, 1)):
                arrays[name][place] = value  # the mark comes last; two processes write the same
        return Frame(*(np.array(arrays[name][place]) for name in ARRAYS[:3]))

    def _open(self) -> dict[str, np.ndarray]:
        """The arrays, mapped; each process maps its own."""
        if self._arrays is None:
            if not self.folder.exists():
                self._make()
            try:
                self._arrays = {name: np.load(self.folder / f"{name}.npy", mmap_mode="r+") for name in ARRAYS}
            except (OSError, ValueError) as error:
                raise InputError(f"{self.folder} is damaged ({error}): remove it, it is drawn again.") from error
        return self._arrays

    def _make(self) -> None:
        count, size = (len(self.videos), self.config.frames), drawn_side(self.config)
        shapes = {"images": (*count, size, size, 3), "poses": (*count, size, size, 3)}
        shapes |= {"regions": (*count, len(REGIONS), 4), "drawn": count}
        try:
            with atomic_folder(self.folder, 2 * int(np.prod(shapes["images"], dtype=np.int64))) as part:
                for name, shape in shapes.items():
                    kind = np.float32 if name == "regions" else np.uint8
                    np.lib.format.open_memmap(part / f"{name}.npy", "w+", kind, shape)
        except InputError:
            if not self.folder.exists():  # else another process was quicker
                raise

    def __getstate__(self) -> dict:
        return self.__dict__ | {"_arrays": None}


def draw_training_frame(config: DataConfig, video: int, frame: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One person in one moment: image, pose map, regions."""
    identity = Identity.from_seed(video, "train")
    if config.motion == "dance":
        moment = frame * CHOREOGRAPHY_FPS / config.fps
        pose = Choreography.from_seed(video, "train").pose(moment)
    else:
        # Any fixed rule that spreads the moments over the choreography will do; this one is the golden ratio's.
        moment = int((frame + 1) * 0.618034 % 1 * CHOREOGRAPHY_SECONDS * CHOREOGRAPHY_FPS)
        pose = Choreography.from_seed(1000 * video + frame, "train").pose(moment)
    side = drawn_side(config)
    keypoints = puppet_keypoints(identity, pose, side)
    return np.asarray(draw_puppet(identity, pose, side)), draw_pose(keypoints), regions_of(keypoints.people[0])


def drawn_side(config: DataConfig) -> int:
    """Of the pictures, in pixels: no crop has to be enlarged."""
    return round(config.size / config.crop[0])


@lru_cache
def drawing_fingerprint() -> str:
    """Changes with every change of the code that draws puppets and pose maps."""
    digest = hashlib.blake2b(digest_size=8)
    files = [*Path(puppets.__file__).parent.glob("*.py"), *Path(pose.__file__).parent.glob("draw*.py"), Path(__file__)]
    for file in sorted(files):
        digest.update(file.read_bytes())
    return digest.hexdigest()
