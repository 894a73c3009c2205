"""Configuration of a data set: the section `data` of a training run."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from ..errors import InputError
from ..schema import Configuration, Float, PairOf, setting


@dataclass(frozen=True)
class DataConfig(Configuration):
    """The data set, and how its pictures are cropped.

    kind: "puppets", drawn people, or "videos", a folder written by the command `dataset` (or in TikTok/DisCo's or the
    published layout). size: side of the square pictures in pixels.
    identities, frames, motion, fps: of puppets: number of people, pictures of each, and whether these are moments of
    many dances or consecutive frames of one dance at `fps` frames per second. held_out: additional people for
    validation only. close_ups: share of the people who are shown as close-ups of their faces, in the scale of the face
    pass (see pose.face_crops).
    folder: of videos. background: "black" paints everything outside of the data set's masks black.
    crop: smallest and largest side of the random square crop, as shares of the shorter side; reference, target and pose
    map of a sample share the crop. shared_crop: false draws a crop for each picture, as the published trainer does by
    mistake; only for comparisons.
    crops: 0 draws a new crop for each sample and encodes it at each step; K caches latents of K fixed crops of each
    video on the disk (1: the central crop).
    captions: the UNet gets the videos' captions (NAME.txt beside a video) instead of the empty prompt.
    workers: processes that read and draw pictures while the networks compute.
    """

    kind: Literal["puppets", "videos"] = "puppets"
    size: int = setting(64, ge=16, le=4096)
    identities: int = setting(1000, ge=1, le=10_000_000)
    frames: int = setting(8, ge=2, le=1_000_000)
    motion: Literal["moments", "dance"] = "moments"
    fps: Float = setting(30.0, ge=1, le=240)
    held_out: int = setting(8, ge=0, le=10_000)
    close_ups: Float = setting(0.0, ge=0, le=1)
    folder: str | None = None
    background: Literal["keep", "black"] = "keep"
    crop: PairOf[Annotated[Float, Field(ge=0.1, le=1)]] = (1.0, 1.0)
    shared_crop: bool = True
    crops: int = setting(1, ge=0, le=64)
    captions: bool = False
    workers: int = setting(0, ge=0, le=256, free=True)

    def __post_init__(self):
        if self.crop[0] > self.crop[1]:
            raise InputError(f"crop is {list(self.crop)}: give the smaller share first.")
        if self.kind == "videos" and not self.folder:
            raise InputError("the key folder is missing: give the data set that `magicdance dataset` wrote.")
        if not self.shared_crop and self.crops:
            raise InputError(
                f"shared_crop is false and crops {self.crops}: set crops to 0, for cached latents share a crop."
            )
