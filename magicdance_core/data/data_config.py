"""Configuration of a data set: the section `data` of a training run."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from ..errors import InputError
from ..schema import Configuration, Float, PairOf, setting


@dataclass(frozen=True)
class DataConfig(Configuration):
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
    size: int = setting(64, ge=16, le=4096)
    identities: int = setting(1000, ge=1, le=10_000_000)
    frames: int = setting(8, ge=2, le=1_000_000)
    motion: Literal["moments", "dance"] = "moments"
    fps: Float = setting(30.0, ge=1, le=240)
    held_out: int = setting(8, ge=0, le=10_000)
    folder: str | None = None
    background: Literal["keep", "black"] = "keep"
    crop: PairOf[Annotated[Float, Field(ge=0.1, le=1)]] = (1.0, 1.0)
    shared_crop: bool = True
    crops: int = setting(1, ge=0, le=64)
    captions: bool = False
    workers: int = setting(0, ge=0, le=256, free=True)

    def __post_init__(self):
        if self.crop[0] > self.crop[1]:
            raise InputError(f"crop runs from {self.crop[0]} to {self.crop[1]}: give the smaller share first.")
        if self.kind == "videos" and not self.folder:
            raise InputError("the key folder is missing: name the data set that `magicdance_core dataset` wrote.")
        if not self.shared_crop and self.crops:
            raise InputError("shared_crop: false needs crops: 0, for cached latents share their crop.")
