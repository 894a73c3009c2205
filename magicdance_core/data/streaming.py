"""Parquet files as a data set, streamed by Hugging Face datasets: no more of them is in memory than a clip."""

import hashlib
import json
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path

import torch

from ..errors import InputError
from ..media.read import decode_picture
from ..pose.keypoint_json import frames_from_pose_keypoint
from .frame_sets import Frame, Video
from .parquet_shards import COLUMNS, ShardFile, library
from .samples import generator
from .video_frames import make_frame

MIXED = 32
"""Files that are read at once, a clip of each in turn."""
GAP = 4
"""So many rows are read and thrown away; a stream that has to skip more is opened again behind them."""


class StreamedFrames:
    """Clips in Parquet files as videos; a `frame_sets.FrameSet`, which is read fast in the order of `order` only.

    Which clip a sample takes follows from its number alone: each process streams the rows of its own samples, and a
    run goes on at any sample without reading those before.
    """

    def __init__(self, files: list[ShardFile], black_background: bool = False):
        """black_background: paint black what is outside of the masks."""
        library("datasets")
        self.files, self.black_background = files, black_background
        self.videos: list[Video] = [clip for file in files for clip in file.clips]
        self._place = [(number, row) for number, file in enumerate(files) for row in range(len(file.clips))]
        text = repr((self.videos, [file.path.stat().st_mtime_ns for file in files], black_background))
        self.fingerprint = hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
        self._streams: OrderedDict[int, _Stream] = OrderedDict()
        self._held: tuple[int, dict] | None = None

    def order(self, split: str, seed: int, turn: int) -> list[int]:
        """The clips of a split in the order of pass number `turn`: files in a new order, MIXED of them at once."""
        firsts, first = [], 0
        for file in self.files:
            if file.clips and file.clips[0].split == split:
                firsts.append((first, len(file.clips)))
            first += len(file.clips)
        source = generator(seed, "files", split, turn)
        shuffled = [firsts[k] for k in torch.randperm(len(firsts), generator=source).tolist()]
        made = []
        for place in range(0, len(shuffled), MIXED):
            group = shuffled[place : place + MIXED]
            for row in range(max(count for _, count in group)):
                made += [first + row for first, count in group if row < count]
        return made

    def read(self, video: int, frame: int) -> Frame:
        if self._held is None or self._held[0] != video:
            self._held = video, self._row(video)
        row, of = self._held[1], self.videos[video]
        name = f"{self.files[self._place[video][0]].path}: {of.name}: picture {frame}"
        try:
            mask = decode_picture(row["masks"][frame], name) if self.black_background and row["masks"] else None
            if row["maps"]:
                pose = decode_picture(row["maps"][frame], name)
            else:
                pose = frames_from_pose_keypoint(json.loads(row["keypoints"][frame]))[0]
            return make_frame(decode_picture(row["pictures"][frame], name), pose, mask, of, name)
        except (IndexError, TypeError, KeyError) as error:
            raise InputError(f"{name} is damaged ({error}): export the data set once more.") from error

    def _row(self, video: int) -> dict:
        number, row = self._place[video]
        stream = self._streams.pop(number, None)
        if stream is None or not 0 <= row - stream.at <= GAP:
            stream = _Stream(self.files[number].path, row)
        self._streams[number] = stream
        if len(self._streams) > MIXED:
            self._streams.popitem(last=False)
        return stream.take(row)

    def __getstate__(self) -> dict:
        return self.__dict__ | {"_streams": OrderedDict(), "_held": None}


class _Stream:
    """The rows of a file, from `at` on."""

    def __init__(self, path: Path, at: int):
        self.path, self.at = path, at
        self._rows: Iterator[dict] | None = None

    def take(self, row: int) -> dict:
        """A row at `at` or behind."""
        datasets = library("datasets")
        try:
            if self._rows is None:
                # Not `load_dataset`, which tells the network that it was called. Groups of rows before are not read,
                # for the file's end says which rows they hold; and `iter` heeds no loader's processes.
                stream = datasets.IterableDataset.from_parquet(
                    str(self.path), columns=list(COLUMNS), filters=[("row", ">=", self.at)]
                )
                self._rows = stream.iter(batch_size=1)
            found = next(values for values in self._rows if values["row"] == [row])
        except Exception as error:  # damaged bytes make the readers raise nearly anything
            if isinstance(error, MemoryError):
                raise
            reason = str(error).split("\n")[0] or type(error).__name__
            raise InputError(f"{self.path} cannot be streamed ({reason}): export the data set once more.") from error
        self.at = row + 1
        return {name: value[0] for name, value in found.items()}
