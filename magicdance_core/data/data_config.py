"""Configuration of a data set: the section `data` of a training run."""

from dataclasses import dataclass
from typing import Literal

from ..errors import InputError
from ..schema import setting


@dataclass(frozen=True)
class DataConfig:
    """Where pictures come from, and what of them is shown.

    kind: "puppets", drawn people, or "videos", a folder that the command `dataset` wrote (or a TikTok/DisCo folder,
    or one in the published layout). size: side of the square pictures in pixels.
    identities, frames, motion, fps: of puppets: how many people, pictures of each, and whether those are moments of
    many dances or consecutive frames of one dance at `fps` a second. held_out: people more, for validation only.
    folder: of videos. background: "black" paints it so, where the data set has masks.
    crop: smallest and largest side of the random square crop, as shares of the short side; reference, target and pose
    map of a sample share it. shared_crop: False draws each picture's crop on its own, as the published trainer does by
    mistake; only for comparisons.
    crops: 0 draws a new crop for each sample and encodes it at each step; K keeps latents of K fixed crops of each
    video on the disk (1: the central one).
    captions: whether the UNet hears the videos' captions (NAME.txt beside a video) in place of the empty prompt.
    workers: processes that read and draw pictures while the networks compute.
    """

    kind: Literal["puppets", "videos"] = "puppets"
    size: int = setting(64, low=16, high=4096)
    identities: int = setting(1000, low=1, high=10_000_000)
    frames: int = setting(8, low=2, high=1_000_000)
    motion: Literal["moments", "dance"] = "moments"
    fps: float = setting(30.0, low=1, high=240)
    held_out: int = setting(8, low=0, high=10_000)
    folder: str | None = None
    background: Literal["keep", "black"] = "keep"
    crop: tuple[float, float] = setting((1.0, 1.0), low=0.1, high=1)
    shared_crop: bool = True
    crops: int = setting(1, low=0, high=64)
    captions: bool = False
    workers: int = setting(0, low=0, high=256, free=True)

    def __post_init__(self):
        if self.crop[0] > self.crop[1]:
            raise InputError(f"crop runs from {self.crop[0]} to {self.crop[1]}: give the smaller share first.")
        if self.kind == "videos" and not self.folder:
            raise InputError("the key folder is missing: name the data set that `magicdance_core dataset` wrote.")
        if not self.shared_crop and self.crops:
            raise InputError("shared_crop: false needs crops: 0, for cached latents share their crop.")
