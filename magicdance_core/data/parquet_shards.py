"""A data set as Parquet files, for streaming: each row is a clip, its pictures are the bytes of the original files."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..checks import printable
from ..errors import InputError
from ..files import atomic_write, check_folder, existing, read_bytes, read_json, remove_leftovers, resolve_inside
from ..limits import MAX_CLIP_BYTES
from ..pose.keypoint_json import frames_to_pose_keypoint
from .array_cache import digest
from .frame_sets import Video
from .index_files import IndexedClip, ShardIndex, read_index
from .layouts import INDEX
from .video_frames import FrameFiles, VideoFrames

FORMAT = "magicdance shards"
COLUMNS = ("row", "pictures", "maps", "keypoints", "masks")
MIN_FRAMES = 4


@dataclass(frozen=True)
class ShardClip:
    """A row of a file: some frames of a video. frames: their indices."""

    video: int
    frames: tuple[int, ...]


@dataclass(frozen=True)
class ShardFile:
    """A Parquet file and its rows, described as videos."""

    path: Path
    clips: tuple[Video, ...]


def cut_clips(entries: list[FrameFiles], frames: int, consecutive: bool) -> dict[str, list[ShardClip]]:
    """Return split -> clips of at most `frames` frames, in a fixed random order.

    consecutive: clips have consecutive frames, for motion modules; otherwise each clip is spread over its whole video,
    so that reference and target may be far apart.
    """
    made: dict[str, list[tuple[bytes, ShardClip]]] = {}
    for number, entry in enumerate(entries):
        indices, parts = np.arange(entry.video.frames), -(-entry.video.frames // frames)
        cuts = np.array_split(indices, parts) if consecutive else [indices[part::parts] for part in range(parts)]
        for part, chosen in enumerate(cuts):
            key = hashlib.blake2b(f"{entry.video.name}/{part}".encode()).digest()
            made.setdefault(entry.video.split, []).append((key, ShardClip(number, tuple(chosen.tolist()))))
    return {split: [clip for _, clip in sorted(clips, key=lambda pair: pair[0])] for split, clips in made.items()}


def write_shards(
    entries: list[FrameFiles],
    out: Path,
    frames: int,
    consecutive: bool,
    per_file: int,
    shard: tuple[int, int] = (1, 1),
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Path | None:
    """Write files of `per_file` clips, and the index once all files exist; return the index, or None until then.

    shard: (k, n) writes only every n-th file, starting with the k-th. Files that an earlier run wrote from the same
    frames are left as they are. progress: called with (files done, files in all).
    Raises InputError if `out` holds another data set, a file cannot be read or pyarrow is missing.
    """
    if (out / INDEX).is_file() and not _is_ours(read_json(out / INDEX, "a data set")):
        raise InputError(f"{out} holds another data set: give another folder with --out.")
    pyarrow = library("pyarrow")
    if out.is_dir():
        check_folder(out)
        remove_leftovers(out)  # also where no file is missing
    source = VideoFrames(entries)
    plan = [
        (f"{split}-{number:05d}.parquet", split, clips[number::count])
        for split, clips in cut_clips(entries, frames, consecutive).items()
        for count in (-(-len(clips) // per_file),)
        for number in range(count)
    ]
    chosen = plan[shard[0] - 1 :: shard[1]]
    for number, (name, _, clips) in enumerate(chosen):
        fingerprint = _fingerprint(source, clips)
        if _stored_fingerprint(out / name) != fingerprint:
            schema = pyarrow.schema(
                [("row", pyarrow.int64())]
                + [(name, pyarrow.list_(pyarrow.binary())) for name in ("pictures", "maps", "masks")]
                + [("keypoints", pyarrow.list_(pyarrow.string()))],
                metadata={"magicdance": fingerprint},
            )
            with atomic_write(out / name) as part, pyarrow.parquet.ParquetWriter(part, schema) as writer:
                for row, clip in enumerate(clips):
                    table = pyarrow.Table.from_pylist([{"row": row} | _row(source, clip)], schema)
                    writer.write_table(table)  # one row group per clip, which is read without its neighbours
        progress(number + 1, len(chosen))
    if any(_stored_fingerprint(out / name) != _fingerprint(source, clips) for name, _, clips in plan):
        return None
    files = [
        {"name": name, "clips": [_described(entries[clip.video].video, clip, split) for clip in clips]}
        for name, split, clips in plan
    ]
    with atomic_write(out / INDEX) as part:
        part.write_text(json.dumps({"format": FORMAT, "version": 1, "files": files}) + "\n", encoding="utf-8")
    return out / INDEX


def read_shards(folder: Path) -> list[ShardFile] | None:
    """Return the files of a folder that `write_shards` wrote, or of a folder of such folders; None for other folders.

    Raises InputError if an index is damaged, a file is missing, or something leads out of the folder.
    """
    folder = existing(folder)
    if not folder.is_dir():
        return None
    indices = sorted([*folder.glob(INDEX), *folder.glob(f"*/{INDEX}")])
    found = [index for index in indices if _is_ours(read_json(index, "a data set"))]
    if not found:
        return None
    check_folder(folder)
    files = [
        ShardFile(resolve_inside(index.parent, file.name, "a file"), tuple(map(_video, file.clips)))
        for index in found
        for file in read_index(ShardIndex, index, "export the data set again").files
    ]
    for file in files:
        if not file.path.is_file():
            raise InputError(f"{file.path} is missing: copy the whole data set, or export it again.")
    return files or None


def library(name: str) -> Any:
    """Return the module datasets or pyarrow. Raises InputError that says how to install it."""
    try:
        if name == "datasets":
            import datasets

            if not hasattr(datasets.IterableDataset, "from_parquet"):
                raise ImportError(f"{datasets.__version__} is too old")
            return datasets
        import pyarrow
        import pyarrow.parquet

        return pyarrow
    except ImportError as error:
        raise InputError(f"Streaming needs Hugging Face datasets ({error}): pip install 'datasets>=4.8'.") from error


def _is_ours(values: Any) -> bool:
    return isinstance(values, dict) and values.get("format") == FORMAT


def _video(clip: IndexedClip) -> Video:
    about = (clip.name, clip.frames, clip.width, clip.height, clip.split)
    return Video(*about, tuple(clip.runs), printable(clip.caption))


def _described(video: Video, clip: ShardClip, split: str) -> dict:
    name = f"{video.name}, frames {clip.frames[0]} to {clip.frames[-1]}"
    runs = []
    for first, count in video.runs or ((0, video.frames),):
        inside = [index for index, frame in enumerate(clip.frames) if first <= frame < first + count]
        steps = np.diff([clip.frames[index] for index in inside])
        starts = [0, *(np.flatnonzero(steps != 1) + 1).tolist(), len(inside)] if inside else [0]
        runs += [(inside[a], b - a) for a, b in zip(starts, starts[1:])]
    return asdict(replace(video, name=name, frames=len(clip.frames), split=split, runs=tuple(runs)))


def _row(source: VideoFrames, clip: ShardClip) -> dict[str, Any]:
    entry = source.files[clip.video]

    left = MAX_CLIP_BYTES

    def contents(paths: tuple[Path, ...]) -> list[bytes] | None:
        nonlocal left
        if not paths:
            return None
        pictures = []
        for frame in clip.frames:
            pictures.append(read_bytes(paths[frame]))
            left -= len(pictures[-1])
            if left < 0:
                raise InputError(
                    f"The pictures of {len(clip.frames)} frames of {entry.video.name} have more than "
                    f"{MAX_CLIP_BYTES / 1e9:.0f} GB: lower --frames."
                )
        return pictures

    keypoints = None
    if not entry.maps:
        found = [source.pose(clip.video, frame) for frame in clip.frames]
        keypoints = [json.dumps(pose) for pose in frames_to_pose_keypoint(found)]
    pictures, maps, masks = map(contents, (entry.pictures, entry.maps, entry.masks))
    return {"pictures": pictures, "maps": maps, "masks": masks, "keypoints": keypoints}


def _fingerprint(source: VideoFrames, clips: list[ShardClip]) -> str:
    """Return a text that changes with the frames of the clips."""
    return digest([(source.videos[clip.video], source.modified[clip.video], clip.frames) for clip in clips])


def _stored_fingerprint(path: Path) -> str | None:
    """Return the fingerprint in a file; None if the file is missing, damaged or not ours."""
    if not path.is_file():
        return None
    try:
        metadata = library("pyarrow").parquet.read_schema(path).metadata or {}
    except (OSError, ValueError):  # pyarrow raises ValueErrors for damaged files
        return None
    return metadata.get(b"magicdance", b"").decode()
