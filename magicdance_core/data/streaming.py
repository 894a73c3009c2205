"""Parquet files as a data set, streamed by Hugging Face datasets: one clip of each open file is in memory."""

import json
import tempfile
from collections import OrderedDict
from collections.abc import Collection, Iterator
from pathlib import Path

import torch
from PIL import Image

from ..errors import InputError
from ..limits import MAX_CLIP_BYTES
from ..media import BLACK
from ..media.read import decode_picture
from ..pose.keypoint_json import frames_from_pose_keypoint
from ..pose.keypoints import PoseFrame
from .array_cache import digest
from .frame_sets import Frame, Video
from .parquet_shards import COLUMNS, ShardFile, library
from .samples import generator
from .video_frames import make_frame

OPEN_FILES = 32
"""Number of files that are read at once, a clip of each in turn."""
MAX_SKIPPED_ROWS = 4
"""Rows that a stream reads and drops; to skip more, the file is opened again at the wanted row."""


class StreamedFrames:
    """Clips in Parquet files as videos; a `frame_sets.FrameSet` that is fast to read in the order of `order` only.

    The clip of a sample follows from its number alone: each process streams the rows of its samples, and a run resumes
    at any sample without reading those before it.
    """

    def __init__(self, files: list[ShardFile], black_background: bool, cache: Path):
        """black_background: paint everything outside of the masks black. cache: folder for what `datasets` writes for a
        moment, which otherwise goes to the user's home."""
        library("datasets")
        self.files, self.black_background, self.cache = files, black_background, cache
        self.videos: list[Video] = [clip for file in files for clip in file.clips]
        self._rows = [(number, row) for number, file in enumerate(files) for row in range(len(file.clips))]
        modified = [file.path.stat().st_mtime_ns for file in files]
        self.fingerprint = digest((self.videos, modified, black_background))
        self._streams: OrderedDict[int, _Stream] = OrderedDict()
        self._current: tuple[int, dict] | None = None

    def order(self, split: str, seed: int, epoch: int) -> list[int]:
        """Return the clips of a split in the order of an epoch: files are shuffled, OPEN_FILES of them read at once."""
        firsts, first = [], 0
        for file in self.files:
            if file.clips and file.clips[0].split == split:
                firsts.append((first, len(file.clips)))
            first += len(file.clips)
        source = generator(seed, "files", split, epoch)
        shuffled = [firsts[k] for k in torch.randperm(len(firsts), generator=source).tolist()]
        clips = []
        for number in range(0, len(shuffled), OPEN_FILES):
            group = shuffled[number : number + OPEN_FILES]
            for row in range(max(count for _, count in group)):
                clips += [first + row for first, count in group if row < count]
        return clips

    def read(self, video: int, frame: int, hidden: Collection[str] = (), mirrored: bool = False) -> Frame:
        """See `FrameSet.read`; the clip that the frame is in stays in memory."""
        if self._current is None or self._current[0] != video:
            self._current = video, self._read_row(video)
        row, about = self._current[1], self.videos[video]
        name = f"{self.files[self._rows[video][0]].path}: {about.name}: picture {frame}"
        try:
            mask = decode_picture(row["masks"][frame], name, BLACK) if self.black_background and row["masks"] else None
            pose: Image.Image | PoseFrame
            if row["maps"]:
                pose = decode_picture(row["maps"][frame], name, BLACK)
            else:
                pose = frames_from_pose_keypoint(json.loads(row["keypoints"][frame]))[0]
            return make_frame(decode_picture(row["pictures"][frame], name), pose, mask, about, name, hidden, mirrored)
        except InputError:
            raise
        except (IndexError, TypeError, KeyError, ValueError, RecursionError) as error:
            raise InputError(f"{name} is damaged ({error}): export the data set once more.") from error

    def _read_row(self, video: int) -> dict:
        number, row = self._rows[video]
        stream = self._streams.pop(number, None)
        if stream is None or not 0 <= row - stream.next_row <= MAX_SKIPPED_ROWS:
            stream = _Stream(self.files[number], row, self.cache)
        self._streams[number] = stream
        if len(self._streams) > OPEN_FILES:
            self._streams.popitem(last=False)
        return stream.take(row)

    def __getstate__(self) -> dict:
        return self.__dict__ | {"_streams": OrderedDict(), "_current": None}


class _Stream:
    """The rows of a file, from `next_row` on. cache: see `StreamedFrames`."""

    def __init__(self, file: ShardFile, next_row: int, cache: Path):
        self.path, self.next_row = file.path, next_row
        self._count, self._cache = len(file.clips), cache
        self._rows: Iterator[dict] | None = None

    def take(self, row: int) -> dict:
        """Return the contents of a row, `next_row` or a later one."""
        try:
            if self._rows is None:
                self._rows = self._open()
            found = next(values for values in self._rows if values["row"] == [row])
        except Exception as error:  # readers raise nearly anything for damaged bytes
            if isinstance(error, (MemoryError, InputError)):
                raise
            reason = str(error).split("\n")[0] or type(error).__name__
            raise InputError(f"{self.path} cannot be streamed ({reason}): export the data set once more.") from error
        self.next_row = row + 1
        return {name: value[0] for name, value in found.items()}

    def _open(self) -> Iterator[dict]:
        """Return the rows. Raises InputError if the file has too few, or one that is too large for the memory."""
        footer = library("pyarrow").parquet.read_metadata(self.path)
        sizes = [footer.row_group(number).total_byte_size for number in range(footer.num_row_groups)]
        if footer.num_rows < self._count:
            raise InputError(
                f"{self.path} has {footer.num_rows} clips, and the index {self._count}: export the data set again."
            )
        if max(sizes) > 2 * MAX_CLIP_BYTES:
            raise InputError(
                f"{self.path} has clips of {max(sizes) / 1e9:.1f} GB: export the data set again with fewer --frames."
            )
        self._cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="streaming-", dir=self._cache) as folder:
            # `load_dataset` would report its use over the network. The file's footer says which rows a group holds,
            # so earlier groups are not read; `iter` does not split rows among the loader's processes.
            stream = library("datasets").IterableDataset.from_parquet(
                str(self.path), columns=list(COLUMNS), filters=[("row", ">=", self.next_row)], cache_dir=folder
            )
            return stream.iter(batch_size=1)
