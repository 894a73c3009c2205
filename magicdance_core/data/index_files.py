"""The files that describe a data set: their schemas, and the names that may stand in them."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import ConfigDict, Field

from ..checks import quoted
from ..errors import InputError
from ..files import read_json
from ..limits import MAX_FRAMES, check_size
from ..schema import Configuration, ListOf, PairOf, build, setting

T = TypeVar("T")
MAX_NAME = 120  # characters of a video's name, which names its folder
MAX_CAPTION = 10_000  # characters; a text encoder reads the first 75 words or so
Split = Literal["train", "validation", "test"]
Number = Annotated[int, Field(ge=0, le=10**9)]  # of a frame in its video's files
Reason = Annotated[str, Field(max_length=100)]


def safe_name(name: str) -> str:
    """Return the name of a file as the name of a video: what `is_video_name` does not allow becomes _."""
    allowed = "".join(sign if sign.isprintable() and sign not in "/\\" else "_" for sign in name[:MAX_NAME])
    return f"_{allowed[1:]}" if allowed[:1] == "." else allowed


def is_video_name(name: str) -> bool:
    """Return whether a name can be that of a video: printable, no path, no leading dot."""
    return bool(name) and safe_name(name) == name


class _Entry(Configuration):
    """Base of the schemas here; other keys are ignored, so that a data set can say more about itself."""

    __pydantic_config__: ClassVar = ConfigDict(extra="ignore", strict=True, allow_inf_nan=False)


def _check_frames(numbers: list[int]) -> None:
    if len(numbers) > MAX_FRAMES:
        raise InputError(f"frames has {len(numbers)} entries: give at most {MAX_FRAMES:,}.")
    if any(after <= before for before, after in zip(numbers, numbers[1:])):
        raise InputError("frames is not in ascending order: sort it.")


def _check_name(name: str) -> None:
    if not is_video_name(name):
        raise InputError(f"name is {quoted(name)}: give printable characters, no path and no leading dot.")


@dataclass(frozen=True)
class IndexedVideo(_Entry):
    """A video of `index.json`. frames: numbers of its pictures, ascending. maps: pose maps instead of keypoints."""

    name: str
    frames: ListOf[Number] = setting(min_length=1)
    width: int = setting(ge=1)
    height: int = setting(ge=1)
    split: Split = setting()
    maps: bool = setting()
    caption: str = setting("", max_length=MAX_CAPTION)

    def __post_init__(self):
        _check_name(self.name)
        _check_frames(self.frames)
        check_size(self.width, self.height, "A video")


@dataclass(frozen=True)
class VideoIndex(_Entry):
    """`index.json` of a data set that the command `dataset` wrote. suffix: of the pictures."""

    suffix: Literal["jpg", "png"]
    videos: ListOf[IndexedVideo] = setting(min_length=1)

    def __post_init__(self):
        names = {video.name for video in self.videos}
        if len(names) < len(self.videos):
            raise InputError("two videos have the same name: remove one.")


@dataclass(frozen=True)
class IndexedClip(_Entry):
    """A row of a Parquet file, as in `frame_sets.Video`."""

    name: str = setting(min_length=1, max_length=400)
    frames: int = setting(ge=1, le=MAX_FRAMES)
    width: int = setting(ge=1)
    height: int = setting(ge=1)
    split: Split = setting()
    runs: ListOf[PairOf[Number]] = setting([])
    caption: str = setting("", max_length=MAX_CAPTION)

    def __post_init__(self):
        if not self.name.isprintable():
            raise InputError(f"name is {quoted(self.name)}: give printable characters.")
        check_size(self.width, self.height, "A clip")
        end = 0
        for first, count in self.runs:
            if first < end or count < 1 or first + count > self.frames:
                raise InputError(f"runs has [{first}, {count}]: give stretches of the {self.frames} frames, in order.")
            end = first + count


@dataclass(frozen=True)
class IndexedFile(_Entry):
    """A Parquet file and its rows."""

    name: str = setting(min_length=1, max_length=100)
    clips: ListOf[IndexedClip] = setting(min_length=1)

    def __post_init__(self):
        if not is_video_name(self.name) or not self.name.endswith(".parquet"):
            raise InputError(f"name is {quoted(self.name)}: give the name of a .parquet file.")


@dataclass(frozen=True)
class ShardIndex(_Entry):
    """`index.json` of the files that the command `shards` wrote."""

    format: str
    files: ListOf[IndexedFile]


@dataclass(frozen=True)
class VideoRecord(_Entry):
    """`record.json` of a prepared video: what it was made of and how, and what became of its frames.

    total: number of frames. frames: numbers of those that were kept. dropped: reason -> how many. examples: reason -> a
    frame that was dropped for it. content: of the video's file, see `files.content_digest`. error: why the video is
    left out.
    """

    name: str
    settings: dict[str, Any]
    total: int = setting(ge=0, le=10**9)
    frames: ListOf[Number] = setting()
    maps: bool = setting()
    dropped: dict[Reason, Number] = setting()
    examples: dict[Reason, Number] = setting()
    source: str = ""
    content: str = ""
    caption: str = setting("", max_length=MAX_CAPTION)
    error: str | None = None
    width: int = setting(0, ge=0)
    height: int = setting(0, ge=0)

    def __post_init__(self):
        _check_name(self.name)
        _check_frames(self.frames)
        for key, value in self.settings.items():
            if not isinstance(value, (str, int, float, type(None))) or value != value or value == math.inf:
                raise InputError(f"settings: {key} is {quoted(value)}: give a number, a text, or null.")
        if self.error is None:
            check_size(self.width, self.height, "A video")


def read_index(kind: type[T], file: Path, remedy: str) -> T:
    """Return a file as an instance of its schema. remedy: what to do if it is damaged, in messages.

    Raises InputError that names what is wrong with it.
    """
    values = read_json(file, "a data set")
    try:
        return build(kind, values, file.name)
    except InputError as error:
        reason = str(error).removeprefix(f"{file.name}: ").rstrip(".")
        raise InputError(f"{file} is damaged ({reason}): {remedy}.") from error
