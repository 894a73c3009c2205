"""A video on its way into a data set: pictures, and a line a frame, behind the last of which a killed run goes on."""

import json
import os
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..errors import InputError
from ..files import read_json
from ..pose.keypoint_files import save_keypoints
from ..pose.keypoint_json import frames_from_pose_keypoint, frames_to_pose_keypoint
from ..pose.keypoints import PoseFrame
from .layouts import KEYPOINTS

RECORD, LINES = "record.json", "frames.jsonl"
EXAMPLES = 3
"""Dropped frames of a video that are kept for the contact sheet."""


KEYS = {"name": str, "settings": dict, "total": int, "frames": list, "maps": bool, "dropped": dict, "examples": dict}


def read_record(file: Path) -> dict[str, Any]:
    """What became of a finished video. InputError where the file says something else."""
    record = read_json(file, "a data set")
    if not isinstance(record, dict) or any(not isinstance(record.get(key), kind) for key, kind in KEYS.items()):
        raise InputError(f"{file} is damaged: remove its folder, the video is prepared again.")
    return record


class UnfinishedVideo:
    """A folder beside the finished video's, which takes its name in the end.

    A frame's picture is written before its line, and what stands behind the last whole line is done again.
    numbers: of the frames that stayed, keypoints: theirs, poses: keypoints of all frames, None where there are none.
    total: frames done. shown: reason -> a frame that was dropped for it.
    """

    def __init__(self, folder: Path, how: dict[str, Any], suffix: str, short_side: int | None):
        """how: all that decides about the frames; what was done another way is thrown away. suffix: of the pictures,
        png or jpg; short_side: to which larger pictures are shrunk."""
        self.folder, self.suffix, self.short_side = folder, suffix, short_side
        self.numbers: list[int] = []
        self.keypoints: list[PoseFrame] = []
        self.poses: list[PoseFrame | None] = []
        self.dropped: Counter[str] = Counter()
        self.shown: dict[str, int] = {}
        self.size: tuple[int, int] | None = None
        self.maps = False
        first, lines = json.dumps(how), self._lines()
        if lines[:1] != [first]:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            lines = [first]
        for place, line in enumerate(lines[1:], 1):
            try:
                self._take(**json.loads(line))
            except (KeyError, TypeError, ValueError):  # damaged; what follows is done again
                lines = lines[:place]
                break
        # Written anew, so that no half line is left in the middle.
        part = folder / f"{LINES}.part"
        part.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        os.replace(part, folder / LINES)
        self._file = (folder / LINES).open("a", encoding="utf-8")

    @property
    def total(self) -> int:
        return len(self.poses)

    def add(self, picture: np.ndarray | None, pose: PoseFrame | np.ndarray | None, reason: str | None) -> None:
        """The next frame. pose: keypoints or a pose map. reason: why it is dropped; None where it stays."""
        number, size = self.total, None if picture is None else picture.shape[:2]
        keypoints = pose if isinstance(pose, PoseFrame) else None
        if reason is None:
            _save(self.folder / f"{number:06d}.{self.suffix}", self._shrunk(picture), self.suffix == "png")
            if keypoints is None:
                (self.folder / "poses").mkdir(exist_ok=True)
                _save(self.folder / "poses" / f"{number:06d}.png", self._shrunk(pose), True)
        elif picture is not None and len(self.shown) < EXAMPLES and reason not in self.shown:
            _save(self.folder / f"dropped-{number:06d}.jpg", _shrunk(picture, 256), False)
        found = None if keypoints is None else frames_to_pose_keypoint([keypoints])[0]
        line = {"reason": reason, "size": size, "pose": found}
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()
        self._take(reason, size, found)

    def finish(self, record: dict[str, Any], target: Path) -> None:
        """Complete the record, write it, and give the folder its name."""
        self._file.close()
        if self.numbers:
            with Image.open(self.folder / f"{self.numbers[0]:06d}.{self.suffix}") as first:
                record |= {"width": first.width, "height": first.height}
        if self.keypoints:
            scaled = [pose.scaled(record["width"], record["height"]) for pose in self.keypoints]
            save_keypoints(self.folder / KEYPOINTS, scaled)
        record |= {"total": self.total, "frames": self.numbers, "maps": self.maps}
        record |= {"dropped": dict(self.dropped), "examples": self.shown}
        (self.folder / RECORD).write_text(json.dumps(record), encoding="utf-8")
        if target.exists():
            target.rmdir()
        os.replace(self.folder, target)
        (target / LINES).unlink()

    def _take(self, reason: str | None, size: tuple[int, int] | None, pose: dict | None) -> None:
        found = None if pose is None else frames_from_pose_keypoint([pose])[0]
        size, number = None if size is None else tuple(size), self.total
        if reason is None and size is None:
            raise ValueError("a frame that stays has a size")
        self.poses.append(found)
        if reason is not None:
            self.dropped[reason] += 1
            if size is not None and len(self.shown) < EXAMPLES:
                self.shown.setdefault(reason, number)
            return
        self.size = size
        self.numbers.append(number)
        if found is None:
            self.maps = True
        else:
            self.keypoints.append(found)

    def _lines(self) -> list[str]:
        """The whole lines that are there."""
        try:
            text = (self.folder / LINES).read_text(encoding="utf-8")
        except (OSError, ValueError):
            return []
        return text.split("\n")[:-1]

    def _shrunk(self, picture: np.ndarray) -> Image.Image:
        return _shrunk(picture, self.short_side)


def _shrunk(picture: np.ndarray, short_side: int | None) -> Image.Image:
    image = Image.fromarray(picture)
    if short_side is None or min(image.size) <= short_side:
        return image
    scale = short_side / min(image.size)
    return image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.LANCZOS)


def _save(path: Path, image: Image.Image, png: bool) -> None:
    image.save(path, **({"format": "PNG"} if png else {"format": "JPEG", "quality": 95}))
