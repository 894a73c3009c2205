"""From pictures to one person's keypoints through time."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from .detectors.detector import Detector
from .filling import Repaired, count_parts, repair
from .keypoints import PoseFrame, frames_to_points, points_to_frames
from .tracking import choose, track

MAX_GAP = 15


@dataclass(frozen=True)
class Extraction:
    """frames: one person at most in each. report: see `follow`."""

    frames: list[PoseFrame]
    report: dict


def detect(
    pictures: Iterable[np.ndarray | None], detector: Detector, progress: Callable[[int], object] | None = None
) -> list[PoseFrame]:
    """Everybody in each picture, uint8 [H, W, 3] RGB; a frame of None, a picture that could not be read, is empty.

    Pictures are looked at one by one and none is kept; the keypoints of a frame take about 2 KB a person. The same
    object again is not looked at twice. progress gets the number of frames done and may raise to stop.
    Raises InputError where there is no picture or the size changes.
    """
    frames: list[PoseFrame] = []
    previous = None
    for picture in pictures:
        if picture is None:
            if frames:
                frames.append(PoseFrame((), frames[-1].width, frames[-1].height))
        elif frames and picture is previous:
            frames.append(frames[-1])
        else:
            height, width = picture.shape[:2]
            if frames and (frames[0].width, frames[0].height) != (width, height):
                first = f"{frames[0].width} x {frames[0].height}"
                raise InputError(f"Picture {len(frames)} has {width} x {height} pixels, not {first}; give one size.")
            frames.append(PoseFrame(detector.detect(picture), width, height))
            previous = picture
        if progress:
            progress(len(frames))
    if not frames:
        raise InputError("There is no picture to look at; give at least one frame.")
    return frames


def follow(frames: Sequence[PoseFrame], person: str | int = "continuity", max_gap: int = MAX_GAP) -> Extraction:
    """One person of frames with any number of people: tracked, chosen, hiccups dropped and short gaps filled.

    person: see tracking.choose. max_gap: the longest gap, in frames, that is filled; 0 fills none.
    The report has frames, frames_with_person, frames_empty (nobody was found), frames_crowded (several people were),
    people (how many were told apart), dropped (points taken for hiccups) and parts: keypoints found, filled and lost of
    body, left_hand, right_hand, face and feet. Frames without anybody are empty, never an error.
    """
    if max_gap < 0:
        raise InputError(f"A gap of {max_gap} frames cannot be filled; give 0 or more.")
    if not frames:
        raise InputError("There are no frames to follow a person through; give at least one.")
    tracked = track(frames)
    chosen = choose(tracked, person)
    found = frames_to_points(chosen)
    repaired = repair(found, max_gap)
    identity = next((p.identity for frame in chosen for p in frame.people), None)
    made = points_to_frames(repaired.points, frames[0].width, frames[0].height, identity)
    return Extraction(made, _report(tracked, made, found, repaired))


def _report(tracked: list[PoseFrame], made: list[PoseFrame], found: np.ndarray, repaired: Repaired) -> dict:
    return {
        "frames": len(made),
        "frames_with_person": sum(bool(frame.people) for frame in made),
        "frames_empty": sum(not frame.people for frame in tracked),
        "frames_crowded": sum(len(frame.people) > 1 for frame in tracked),
        "people": len({p.identity for frame in tracked for p in frame.people}),
        "dropped": int(repaired.dropped.sum()),
        "parts": count_parts(found, repaired),
    }
