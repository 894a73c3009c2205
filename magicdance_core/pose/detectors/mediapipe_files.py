"""Find the networks of MediaPipe: in files of their own, in the package's wheel, or in the installed package."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from ...errors import InputError
from ...files import files_with_suffix

WHEEL = "mediapipe-0.10.21-cp311-cp311-manylinux_2_28_x86_64.whl"
_DOWNLOAD = (
    "pip download mediapipe==0.10.21 --no-deps --only-binary=:all: --python-version 3.11 "
    "--platform manylinux_2_28_x86_64 -d {folder}"
)
_PREFIX = "mediapipe/modules/"


@dataclass(frozen=True)
class NetworkFile:
    """A network in the wheel below mediapipe/modules/, or under its bare name elsewhere; its size and SHA-256."""

    member: str
    size: int
    sha256: str

    @property
    def name(self) -> str:
        return self.member.rpartition("/")[2]


FILES = {
    "person": NetworkFile(
        "pose_detection/pose_detection.tflite",
        2_959_046,
        "9ba9dd3d42efaaba86b4ff0122b06f29c4122e756b329d89dca1e297fd8f866c",
    ),
    "pose": NetworkFile(
        "pose_landmark/pose_landmark_full.tflite",
        6_440_512,
        "e9a5c5cb17f736fafd4c2ec1da3b3d331d6edbe8a0d32395855aeb2cdfd64b9f",
    ),
    "palm": NetworkFile(
        "palm_detection/palm_detection_full.tflite",
        2_339_846,
        "1b14e9422c6ad006cde6581a46c8b90dd573c07ab7f3934b5589e7cea3f89a54",
    ),
    "hand": NetworkFile(
        "hand_landmark/hand_landmark_full.tflite",
        5_478_917,
        "11c272b891e1a99ab034208e23937a8008388cf11ed2a9d776ed3d01d0ba00e3",
    ),
    "face_box": NetworkFile(
        "face_detection/face_detection_short_range.tflite",
        229_714,
        "bbff11cebd1eb27a1e004cae0b0e63ec8c551cbf34a4451148b4908b8db3eca8",
    ),
    "face": NetworkFile(
        "face_landmark/face_landmark_with_attention.tflite",
        2_495_106,
        "e06a804e0144f9929eda782122916b35d60c697c3c9344013ca2bbe76a6ce2b4",
    ),
}
# People's pixels, for masks: the square ("general") network; the detector does without it.
SEGMENTATION = NetworkFile(
    "selfie_segmentation/selfie_segmentation.tflite",
    249_505,
    "9ee168ec7c8f2a16c56fe8e1cfbc514974cbbb7e434051b455635f1bd1462f5c",
)
# More accurate and three times slower than "pose"; not in the wheel, but in the npm package @mediapipe/holistic.
HEAVY_POSE = NetworkFile(
    "pose_landmark_heavy.tflite",
    27_709_200,
    "59e42d71bcd44cbdbabc419f0ff76686595fd265419566bd4009ef703ea8e1fe",
)


def download_command(folder: str | Path) -> str:
    """Return the command that puts the wheel into a folder."""
    shown = str(folder)
    return _DOWNLOAD.format(folder=f'"{shown}"' if " " in shown else shown)


def read_networks(folder: str | Path) -> dict[str, bytes]:
    """Return the bytes of each network of FILES, checked by size and SHA-256.

    They are looked for under their bare names in `folder`, then in a mediapipe-*.whl there, then in the installed
    package. pose_landmark_heavy.tflite in `folder` replaces the pose network.
    Raises InputError with the command that gets them if they are missing, or if they are others.
    """
    folder = Path(folder)
    source = _required_source(folder, FILES.values())
    found = {name: _checked(source.read(file), file, source.name, folder) for name, file in FILES.items()}
    heavy = folder / HEAVY_POSE.name
    if heavy.is_file():
        found["pose"] = _checked(_read_file(heavy, HEAVY_POSE), HEAVY_POSE, heavy.parent, folder)
    return found


def read_network(folder: str | Path, file: NetworkFile) -> bytes:
    """Return the bytes of one network, found and checked as `read_networks` does."""
    folder = Path(folder)
    source = _required_source(folder, [file])
    return _checked(source.read(file), file, source.name, folder)


def _required_source(folder: Path, files: Collection[NetworkFile]) -> Source:
    source = find_source(folder, files)
    if source is None:
        newer = ", ".join(map(str, _other_sources(folder)))
        why = f" ({newer} is of another version, without them)" if newer else ""
        raise InputError(f"MediaPipe's networks are not in {folder}{why}: get them with `{download_command(folder)}`.")
    return source


@dataclass(frozen=True)
class Source:
    """Where the networks are: a folder, a wheel or a package, and how to read one of them."""

    name: Path
    read: Callable[[NetworkFile], bytes | None]


def find_source(folder: str | Path, files: Collection[NetworkFile] = FILES.values()) -> Source | None:
    """Return the first place that has some networks; None if there is none. Their contents are not checked."""
    folder = Path(folder)
    if all((folder / file.name).is_file() for file in files):
        return Source(folder, lambda file: _read_file(folder / file.name, file))
    for wheel in _wheels(folder):
        if _has_networks(wheel, files):
            return Source(wheel, lambda file, wheel=wheel: _read_member(wheel, file))
    for package in _packages():
        if all((package / file.member).is_file() for file in files):
            return Source(package, lambda file, package=package: _read_file(package / file.member, file))
    return None


def _wheels(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    wheels = (path for path in files_with_suffix(folder, (".whl",)) if path.name.startswith("mediapipe-"))
    return [wheel for wheel in wheels if os.path.isfile(wheel)]  # pipes and devices never end


def _packages() -> Iterator[Path]:
    """Yield the folder modules of the installed package, which is found without running it."""
    try:
        spec = importlib.util.find_spec("mediapipe")
    except (ImportError, ValueError):
        return
    for place in (spec.submodule_search_locations or ()) if spec else ():
        yield Path(place) / "modules"


def _other_sources(folder: Path) -> list[Path]:
    """Return wheels and packages of versions that do not have the networks."""
    return _wheels(folder) + [package.parent for package in _packages()]


def _has_networks(wheel: Path, files: Collection[NetworkFile]) -> bool:
    try:
        with zipfile.ZipFile(wheel) as archive:
            names = set(archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return True  # reading it tells what is wrong
    return all(_PREFIX + file.member in names for file in files)


def _read_member(wheel: Path, file: NetworkFile) -> bytes | None:
    """Return the bytes of a wheel's member; None if it is of another size or cannot be unpacked."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            member = archive.getinfo(_PREFIX + file.member)
            if member.file_size != file.size or member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                return None
            with archive.open(member) as opened:
                return opened.read(file.size)  # no more is unpacked, whatever the archive says
    except (OSError, KeyError, NotImplementedError, RuntimeError, zipfile.BadZipFile, EOFError, ValueError, zlib.error):
        return None


def _read_file(path: Path, file: NetworkFile) -> bytes | None:
    """Return the bytes of a file; None if it is of another size or cannot be read."""
    try:
        return path.read_bytes() if path.stat().st_size == file.size else None
    except OSError:
        return None


def _checked(data: bytes | None, file: NetworkFile, place: Path, folder: Path) -> bytes:
    if data is None or hashlib.sha256(data).hexdigest() != file.sha256:
        raise InputError(
            f"{file.name} in {place} is damaged or of another version of MediaPipe: remove it and get the networks "
            f"with `{download_command(folder)}`."
        )
    return data
