"""Poses that were made elsewhere for a video, paired with its frames by number or by time."""

from collections.abc import Iterator
from itertools import repeat
from pathlib import Path
from typing import TypeAlias

import numpy as np

from ..choices import FOREIGN_THRESHOLD
from ..errors import InputError
from ..media import BLACK, read_frames
from ..media.read import count_frames, is_timed, timed_frames
from ..media.resampling import ResampledFrames
from ..pose.keypoint_files import holds_keypoints, keypoint_rate, load_keypoints
from ..pose.keypoints import PoseFrame
from ..pose.map_check import check_pose_maps

Pose: TypeAlias = PoseFrame | np.ndarray


def paired_poses(pictures: ResampledFrames, poses: Path, threshold: float = FOREIGN_THRESHOLD) -> Iterator[Pose | None]:
    """Yield the pose of each picture, None where the video is damaged.

    poses: keypoints, or pose maps as a folder or a video. If there are as many as the video has frames, they belong to
    these; if as many as the resampled pictures, to those; otherwise poses with times of their own (videos, folders of
    `extract`) that last as long as the video are paired by time. threshold: see `load_keypoints`.
    Raises InputError if there are too few or too many, or the maps are no pose maps.
    """
    numbers = pictures.numbers()
    own = count_frames(pictures.path) if pictures.timed else len(numbers)
    if holds_keypoints(poses):
        first = next((picture for picture in pictures if picture is not None), None)
        if first is None:
            raise InputError(f"{pictures.path} has no frame that can be read")
        frames = load_keypoints(poses, first.shape[1], first.shape[0], threshold, remark=True)
        count, rate = len(frames), keypoint_rate(poses)
    else:
        check_pose_maps(read_frames(poses, BLACK), str(poses))
        frames, count, rate = None, count_frames(poses), None
        if is_timed(poses):
            even = ResampledFrames(poses, pictures.fps, BLACK)
            if count not in (own, len(numbers)) and pictures.timed and _as_long(len(even.numbers()), len(numbers)):
                yield from _longer(even, len(numbers))
                return
    if count == own:
        wanted = numbers
    elif count == len(numbers):
        wanted = list(range(count))
    elif frames and rate and pictures.timed and _as_long(count / rate * pictures.fps, len(numbers)):
        wanted = [min(count - 1, round(k / pictures.fps * rate)) for k in range(len(numbers))]
    else:
        made = f" ({len(numbers)} at {pictures.fps:g} a second)" if len(numbers) != own else ""
        raise InputError(
            f"{poses} has poses for {count} frames, and {pictures.path} has {own}{made}: give one pose for each frame"
        )
    yield from _chosen(_maps(poses) if frames is None else iter(frames), wanted)


def _as_long(frames: float, others: int) -> bool:
    """Return whether two clips have the same length, up to rounding at their ends."""
    return abs(frames - others) <= 2


def _longer(poses: ResampledFrames, count: int) -> Iterator[np.ndarray | None]:
    """Yield `count` poses; the last one again where the clip of poses ends a little earlier."""
    pose = None
    source = iter(poses)
    for _ in repeat(None, count):
        pose = next(source, pose)
        yield pose


def _maps(poses: Path) -> Iterator[np.ndarray]:
    """Yield pose maps as they are, without resampling."""
    if not is_timed(poses):
        return map(np.asarray, read_frames(poses, BLACK))

    def fail(error: Exception, done: int) -> None:
        raise InputError(f"{poses} breaks off after {done} frames: give undamaged poses") from error

    return (frame.picture for frame in timed_frames(poses, fail, BLACK))


def _chosen(poses: Iterator[Pose], numbers: list[int | None]) -> Iterator[Pose | None]:
    """Yield the poses of ascending numbers, which may repeat; None for None."""
    at, pose = -1, None
    for number in numbers:
        while number is not None and at < number:
            at, pose = at + 1, next(poses, None)
        yield None if number is None else pose
