"""Configuration of a data set: the section `data` of a training run."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from ..errors import InputError
from ..schema import Configuration, Float, ListOf, PairOf, setting


@dataclass(frozen=True)
class SetConfig(Configuration):
    """One of several data sets of videos. weight: the share of the samples that it gives, in proportion to the others'
    weights, whatever the number of its videos."""

    folder: str
    weight: Float = setting(1.0, ge=1e-6, le=1e6)


@dataclass(frozen=True)
class DataConfig(Configuration):
    """The data set, and how its pictures are cropped.

    kind: "puppets", drawn people, or "videos", a folder written by the command `dataset` (or in TikTok/DisCo's or the
    published layout). size: side of the square pictures in pixels.
    identities, frames, motion, fps: of puppets: number of people, pictures of each, and whether these are moments of
    many dances or consecutive frames of one dance at `fps` frames per second. held_out: additional people for
    validation only. close_ups: share of the people who are shown as close-ups of their faces, in the scale of the face
    pass (see pose.face_crops).
    folder: of videos. sets: several folders with weights instead, such as [{folder: a, weight: 3}, {folder: b}].
    background: "black" paints everything outside of the data set's masks black.
    crop: smallest and largest side of the random square crop, as shares of the shorter side; reference, target and pose
    map of a sample share the crop. shared_crop: false draws a crop for each picture, as the published trainer does by
    mistake; only for comparisons.
    bucket: 0 trains on squares. Otherwise pictures keep nearly their aspect ratio, at about size x size pixels, with
    sides that are multiples of `bucket` (64 for Stable Diffusion), and the people of a step have one shape.
    flip: fraction of the samples that are mirrored: pictures, regions, and pose maps with left and right exchanged.
    colour: largest change of brightness, contrast and saturation, as a share; of a sample's pictures together.
    crops: 0 draws a new crop for each sample and encodes it at each step; K caches latents of K fixed crops of each
    video on the disk (1: the central crop), each mirrored or not and in its own colours.
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
    sets: ListOf[SetConfig] = setting([])
    background: Literal["keep", "black"] = "keep"
    crop: PairOf[Annotated[Float, Field(ge=0.1, le=1)]] = (1.0, 1.0)
    shared_crop: bool = True
    bucket: int = setting(0, ge=0, le=512)
    flip: Float = setting(0.0, ge=0, le=1)
    colour: Float = setting(0.0, ge=0, le=0.5)
    crops: int = setting(1, ge=0, le=64)
    captions: bool = False
    workers: int = setting(0, ge=0, le=256, free=True)

    def __post_init__(self):
        if self.crop[0] > self.crop[1]:
            raise InputError(f"crop is {list(self.crop)}: give the smaller share first.")
        if self.kind == "videos" and not (self.folder or self.sets):
            raise InputError("the key folder is missing: give the data set that `magicdance dataset` wrote.")
        if self.folder and self.sets:
            raise InputError("folder and sets are both given: name each data set once.")
        for key in ("flip", "colour"):
            if getattr(self, key) and self.crops == 1:
                raise InputError(f"{key} has no effect on the central crop: set crops to 0, or to several.")
        if self.bucket and self.kind == "puppets":
            raise InputError("bucket has no effect on puppets, which are square: omit it.")
        if self.bucket > self.size:
            raise InputError(f"bucket is {self.bucket} and size {self.size}: give a smaller one, such as 64.")
        if not self.shared_crop and self.crops:
            raise InputError(
                f"shared_crop is false and crops {self.crops}: set crops to 0, for cached latents share a crop."
            )
