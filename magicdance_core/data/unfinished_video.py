"""A video that is being prepared: pictures, and one line per frame, after the last of which a killed run resumes."""

import io
import json
import os
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..files import check_folder, read_bytes, write_bytes, write_text
from ..pose.keypoint_files import save_keypoints
from ..pose.keypoint_json import frames_from_pose_keypoint, frames_to_pose_keypoint
from ..pose.keypoints import PoseFrame
from .index_files import VideoRecord, read_index
from .layouts import KEYPOINTS

RECORD, LINES = "record.json", "frames.jsonl"
EXAMPLES = 3
"""Number of dropped frames of a video that are kept for the contact sheet."""
MAX_LINES_BYTES = 2**29


def read_record(file: Path) -> dict[str, Any]:
    """Return the record of a finished video. Raises InputError if the file is damaged."""
    record = read_index(VideoRecord, file, "remove its folder, and the video is prepared again")
    return {key: value for key, value in vars(record).items() if value is not None}


class UnfinishedVideo:
    """A temporary folder, which is renamed to the finished video's.

    The picture of a frame is written before its line; whatever follows the last whole line is done again.
    numbers: of the frames that were kept. keypoints: of these frames. poses: keypoints of all frames, None for frames
    without. total: frames done. examples: reason -> a frame that was dropped for it.
    """

    def __init__(self, folder: Path, settings: dict[str, Any], suffix: str, short_side: int | None):
        """settings: everything that influences the frames; frames of other settings are discarded. suffix: of the
        pictures, png or jpg. short_side: larger pictures are scaled down to it."""
        self.folder, self.suffix, self.short_side = folder, suffix, short_side
        self.numbers: list[int] = []
        self.keypoints: list[PoseFrame] = []
        self.poses: list[PoseFrame | None] = []
        self.dropped: Counter[str] = Counter()
        self.examples: dict[str, int] = {}
        self.size: tuple[int, int] | None = None
        self.maps = False
        if folder.is_symlink():
            folder.unlink()  # whoever made it, nothing is written through it
        elif folder.is_dir():
            check_folder(folder)
        first, lines = json.dumps(settings), self._lines()
        if lines[:1] != [first]:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            lines = [first]
        for number, line in enumerate(lines[1:], 1):
            try:
                self._count(**json.loads(line))
            except (KeyError, TypeError, ValueError):  # damaged; the rest is done again
                lines = lines[:number]
                break
        # Rewritten, so that no half line is left in the middle.
        write_text(folder / LINES, "".join(f"{line}\n" for line in lines))
        self._file = (folder / LINES).open("a", encoding="utf-8")

    @property
    def total(self) -> int:
        return len(self.poses)

    def add(self, picture: np.ndarray | None, pose: PoseFrame | np.ndarray | None, reason: str | None) -> None:
        """Add the next frame. pose: keypoints or a pose map. reason: why the frame is dropped; None if it is kept."""
        number, size = self.total, None if picture is None else picture.shape[:2]
        keypoints = pose if isinstance(pose, PoseFrame) else None
        if reason is None:
            _save(self.folder / f"{number:06d}.{self.suffix}", self._scaled(picture), self.suffix == "png")
            if keypoints is None:
                (self.folder / "poses").mkdir(exist_ok=True)
                _save(self.folder / "poses" / f"{number:06d}.png", self._scaled(pose), True)
        elif picture is not None and len(self.examples) < EXAMPLES and reason not in self.examples:
            _save(self.folder / f"dropped-{number:06d}.jpg", _scaled(picture, 256), False)
        found = None if keypoints is None else frames_to_pose_keypoint([keypoints])[0]
        line = {"reason": reason, "size": size, "pose": found}
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()
        self._count(reason, size, found)

    def finish(self, record: dict[str, Any], target: Path) -> None:
        """Complete the record, write it, and rename the folder to `target`."""
        self._file.close()
        if self.numbers:
            with Image.open(self.folder / f"{self.numbers[0]:06d}.{self.suffix}") as first:
                record |= {"width": first.width, "height": first.height}
        if self.keypoints:
            scaled = [pose.scaled(record["width"], record["height"]) for pose in self.keypoints]
            save_keypoints(self.folder / KEYPOINTS, scaled)
        record |= {"total": self.total, "frames": self.numbers, "maps": self.maps}
        record |= {"dropped": dict(self.dropped), "examples": self.examples}
        write_text(self.folder / RECORD, json.dumps(record))
        if target.exists():
            target.rmdir()
        os.replace(self.folder, target)
        (target / LINES).unlink()

    def _count(self, reason: str | None, size: tuple[int, int] | None, pose: dict | None) -> None:
        found = None if pose is None else frames_from_pose_keypoint([pose])[0]
        number = self.total
        if reason is None:
            if size is None:
                raise ValueError("a frame that is kept has a size")
            height, width = size
            self.size = height, width
        self.poses.append(found)
        if reason is not None:
            self.dropped[reason] += 1
            if size is not None and len(self.examples) < EXAMPLES:
                self.examples.setdefault(reason, number)
            return
        self.numbers.append(number)
        if found is None:
            self.maps = True
        else:
            self.keypoints.append(found)

    def _lines(self) -> list[str]:
        """Return the complete lines of the file."""
        try:
            text = read_bytes(self.folder / LINES, MAX_LINES_BYTES).decode("utf-8")
        except ValueError:  # absent, damaged, or no file
            return []
        return text.split("\n")[:-1]

    def _scaled(self, picture: np.ndarray) -> Image.Image:
        return _scaled(picture, self.short_side)


def _scaled(picture: np.ndarray, short_side: int | None) -> Image.Image:
    image = Image.fromarray(picture)
    if short_side is None or min(image.size) <= short_side:
        return image
    scale = short_side / min(image.size)
    return image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.LANCZOS)


def _save(path: Path, image: Image.Image, png: bool) -> None:
    """Write a picture. It is encoded in memory: Pillow does not notice that a full disk cut a file short."""
    encoded = io.BytesIO()
    image.save(encoded, **({"format": "PNG"} if png else {"format": "JPEG", "quality": 95}))
    write_bytes(path, encoded.getvalue())
