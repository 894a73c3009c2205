"""Extract the keypoints of one person from pictures: detect, track, select, repair."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields

import numpy as np

from ..errors import InputError
from .detectors.detector import Detector
from .filling import Repaired, count_parts, repair
from .keypoints import PoseFrame, frames_to_points, people_apart, points_to_frames
from .missing import missing_in_words
from .tracking import select_person, track

MAX_GAP = 15


@dataclass(frozen=True)
class Extraction:
    """Keypoints of one person: `frames` with at most one person each, and the `report` of `follow`."""

    frames: list[PoseFrame]
    report: dict


def detect(
    pictures: Iterable[np.ndarray | None], detector: Detector, progress: Callable[[int], object] | None = None
) -> list[PoseFrame]:
    """Detect everybody in each picture, uint8 [H, W, 3] RGB; None (an unreadable picture) gives an empty frame.

    Pictures are processed one by one and not kept; the keypoints of a person take about 2 KB per frame. A picture that
    is the same object as the one before is not processed again. The detector is reset first.
    progress: called with the number of frames done; may raise to stop.
    Raises InputError if there is no picture or the size changes.
    """
    detector.reset()
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
                raise InputError(f"Picture {len(frames)} has {width} x {height} pixels, not {first}: give one size.")
            frames.append(PoseFrame(detector.detect(picture), width, height))
            previous = picture
        if progress:
            progress(len(frames))
    if not frames:
        raise InputError("There are no pictures: give at least one.")
    return frames


def follow(frames: Sequence[PoseFrame], person: str | int = "continuity", max_gap: int = MAX_GAP) -> Extraction:
    """Return one or all people of frames with any number of people: track, select, drop outliers, fill short gaps.

    person: see `tracking.select_person`. max_gap: the longest gap in frames that is filled; 0 fills none.
    The report has frames, frames_with_person, frames_empty (nobody found), frames_crowded (several people found),
    people (number of tracks), dropped (outliers), parts: keypoints found, filled and lost of body, left_hand,
    right_hand, face and feet, and missing: sentences on what is missing after the filling, and for how long. With
    several people, person_0 and so on have parts and missing of each. Frames without anybody are empty, not an error.
    Raises InputError if there are no frames, `max_gap` is negative or `person` is unknown.
    """
    if max_gap < 0:
        raise InputError(f"max_gap is {max_gap}: give 0 or more.")
    if not frames:
        raise InputError("There are no frames: give at least one.")
    tracked = track(frames)
    selected = select_person(tracked, person)
    alone = [frame_by_person for _, frame_by_person in sorted(people_apart(selected).items())]
    found = [frames_to_points(frames) for frames in alone] or [frames_to_points(selected)]
    repaired = [repair(points, max_gap) for points in found]
    identities = [next(p.identity for frame in frames for p in frame.people) for frames in alone] or [None]
    size = frames[0].width, frames[0].height
    made = [points_to_frames(part.points, *size, identity) for part, identity in zip(repaired, identities)]
    result = [PoseFrame(tuple(p for frame in row for p in frame.people), *size) for row in zip(*made)]
    return Extraction(result, _report(tracked, result, found, repaired))


def _report(
    tracked: list[PoseFrame], result: list[PoseFrame], found: list[np.ndarray], repaired: list[Repaired]
) -> dict:
    people = [
        {"parts": count_parts(points, part), "missing": missing_in_words(part.points)}
        for points, part in zip(found, repaired)
    ]
    several = {f"person_{number}": person for number, person in enumerate(people)} if len(people) > 1 else {}
    return several | {
        "frames": len(result),
        "frames_with_person": sum(bool(frame.people) for frame in result),
        "frames_empty": sum(not frame.people for frame in tracked),
        "frames_crowded": sum(len(frame.people) > 1 for frame in tracked),
        "people": len({p.identity for frame in tracked for p in frame.people}),
        "dropped": sum(int(part.dropped.sum()) for part in repaired),
        "parts": count_parts(np.concatenate(found), _joined(repaired)),
        "missing": [
            f"Person {number}: {sentence[0].lower()}{sentence[1:]}" if several else sentence
            for number, person in enumerate(people)
            for sentence in person["missing"]
        ],
    }


def _joined(repaired: list[Repaired]) -> Repaired:
    """Return the results of several people one after the other."""
    return Repaired(*(np.concatenate([getattr(part, f.name) for part in repaired]) for f in fields(Repaired)))
