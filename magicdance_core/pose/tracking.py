"""Track people through frames, and select one of them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..choices import PEOPLE
from ..errors import InputError
from .keypoints import Person, PoseFrame

# The largest distance, in person sizes, between a detection and the position that a track predicts, and its growth per
# frame without a detection.
GATE = 0.35
GATE_GROWTH = 0.03
# People in a smaller share of the frames than this, and in fewer frames, are passers-by or false detections.
MIN_SHARE, MIN_FRAMES = 0.1, 5
# Who returns after an absence has a size within this factor of that before.
SIZE_FACTOR = 1.6
# Two detections nearer to each other than this, in sizes of the larger one, are the same person.
DUPLICATE = 0.04


@dataclass
class _Track:
    identity: int
    body: np.ndarray  # [18, 3], each joint at its last visible position
    velocity: np.ndarray  # pixels a frame
    last_seen: int

    def expected(self, frame: int) -> np.ndarray:
        steps = min(frame - self.last_seen, 3)  # motion is not linear for longer
        return np.concatenate([self.body[:, :2] + steps * self.velocity, self.body[:, 2:]], axis=1)

    def update(self, body: np.ndarray, frame: int) -> None:
        both = (self.body[:, 2] > 0) & (body[:, 2] > 0)
        if both.any():
            moved = np.median(body[both, :2] - self.body[both, :2], axis=0) / (frame - self.last_seen)
            self.velocity = 0.5 * self.velocity + 0.5 * moved
        self.body = np.where(body[:, 2:] > 0, body, self.body)
        self.last_seen = frame


def person_size(person: Person) -> float:
    """Return the longer side in pixels of the box around a person's body points; 0 without any."""
    return float(_extent(person.body).max(initial=0))


def track(frames: Sequence[PoseFrame], max_gap: int = 30) -> list[PoseFrame]:
    """Return the frames with an identity for each person, numbered from 0 as they appear, left to right.

    Detections are assigned to tracks so that the sum of mean joint distances to the positions predicted at constant
    velocity is minimal (Hungarian algorithm). A track ends after `max_gap` frames without a detection. People without
    body points and duplicate detections of a person are dropped.
    """
    tracks: list[_Track] = []
    next_identity, result = 0, []
    for number, frame in enumerate(frames):
        people = sorted(_without_duplicates(frame.people), key=lambda p: _centre(p.body)[0])
        tracks = [t for t in tracks if number - t.last_seen <= max_gap + 1]
        owners = _assign(tracks, people, number)
        for i, person in enumerate(people):
            if i in owners:
                owners[i].update(person.body, number)
            else:
                owners[i] = _Track(next_identity, person.body, np.zeros(2), number)
                tracks.append(owners[i])
                next_identity += 1
        result.append(
            replace(frame, people=tuple(replace(p, identity=owners[i].identity) for i, p in enumerate(people)))
        )
    return result


def select_person(frames: Sequence[PoseFrame], selection: str | int = "continuity") -> list[PoseFrame]:
    """Return tracked frames with at most one person each, or with `selection` "all" those who stay for long.

    selection: "size", the largest person of each frame; "continuity", the person with the largest area summed over the
    frames, and in other frames the next such person that never appears together with those already selected (the same
    person, after a cut or a long absence); "all", everybody but passers-by, numbered from left to right as they appear,
    where who comes in after somebody of that size has left counts as the same; a number, that identity.
    Raises InputError if the identity or the method is unknown.
    """
    if selection == "all":
        return _everyone(frames)
    if selection == "size":
        return [replace(f, people=tuple(sorted(f.people, key=_area)[-1:])) for f in frames]
    if selection == "continuity":
        chosen = _main_tracks(frames)
        kept = [replace(f, people=tuple(p for p in f.people if p.identity in chosen)) for f in frames]
        main = min(chosen, default=None)
        return [replace(f, people=tuple(replace(p, identity=main) for p in f.people)) for f in kept]
    if not isinstance(selection, int):
        raise InputError(f"The person {selection!r} is unknown: give {', '.join(PEOPLE)} or a number.")
    known = {p.identity for f in frames for p in f.people if p.identity is not None}
    if selection not in known:
        found = f"people 0 to {max(known)} were found" if known else "nobody was found"
        raise InputError(f"There is no person {selection} ({found}): choose another number, size or continuity.")
    return [replace(f, people=tuple(p for p in f.people if p.identity == selection)) for f in frames]


def _main_tracks(frames: Sequence[PoseFrame]) -> set[int]:
    """Return the identities that "continuity" selects, see `select_person`."""
    areas: dict[int, float] = {}
    appearances: dict[int, set[int]] = {}
    for number, frame in enumerate(frames):
        for person in frame.people:
            if person.identity is not None:
                areas[person.identity] = areas.get(person.identity, 0) + _area(person)
                appearances.setdefault(person.identity, set()).add(number)
    selected: set[int] = set()
    occupied: set[int] = set()
    for identity in sorted(areas, key=lambda identity: areas[identity], reverse=True):
        if not occupied & appearances[identity]:
            selected.add(identity)
            occupied |= appearances[identity]
    return selected


def _everyone(frames: Sequence[PoseFrame]) -> list[PoseFrame]:
    """Return the people that "all" selects, see `select_person`."""
    seen: dict[int, list[tuple[int, Person]]] = {}
    for number, frame in enumerate(frames):
        for person in frame.people:
            if person.identity is not None:
                seen.setdefault(person.identity, []).append((number, person))
    least = min(MIN_FRAMES, MIN_SHARE * len(frames))
    kept = {identity: appearances for identity, appearances in seen.items() if len(appearances) >= least}
    owner: dict[int, int] = {}  # track -> the number of the person that it shows
    last: list[tuple[int, Person]] = []  # of each person
    for identity, appearances in sorted(kept.items(), key=lambda item: (item[1][0][0], item[0])):
        start, person = appearances[0]
        away = [number for number, (end, body) in enumerate(last) if end < start and _similar_size(body, person)]
        if away:
            owner[identity] = min(away, key=lambda number: _distance(last[number][1].body, person.body))
            last[owner[identity]] = appearances[-1]
        else:
            owner[identity] = len(last)
            last.append(appearances[-1])
    result = []
    for frame in frames:
        people = [
            replace(person, identity=owner[person.identity]) for person in frame.people if person.identity in owner
        ]
        result.append(replace(frame, people=tuple(sorted(people, key=lambda person: person.identity or 0))))
    return result


def _similar_size(one: Person, other: Person) -> bool:
    sizes = sorted((person_size(one), person_size(other)))
    return sizes[1] <= SIZE_FACTOR * sizes[0]


def _assign(tracks: list[_Track], people: list[Person], frame: int) -> dict[int, _Track]:
    if not tracks or not people:
        return {}
    from scipy.optimize import linear_sum_assignment

    far = 1e6
    cost = np.full((len(people), len(tracks)), far)
    for j, candidate in enumerate(tracks):
        expected = candidate.expected(frame)
        gate = GATE + GATE_GROWTH * (frame - candidate.last_seen - 1)
        for i, person in enumerate(people):
            distance = _distance(expected, person.body)
            if distance < gate:
                cost[i, j] = distance
    rows, columns = linear_sum_assignment(cost)
    return {i: tracks[j] for i, j in zip(rows.tolist(), columns.tolist()) if cost[i, j] < far}


def _without_duplicates(people: Sequence[Person]) -> list[Person]:
    """Return people with body points, the most complete first, without duplicates of more complete ones."""
    kept: list[Person] = []
    for person in sorted(people, key=lambda p: np.count_nonzero(p.body[:, 2]), reverse=True):
        if person.body[:, 2].any() and all(_distance(other.body, person.body) > DUPLICATE for other in kept):
            kept.append(person)
    return kept


def _distance(a: np.ndarray, b: np.ndarray) -> float:
    """Return the mean distance of two bodies' common joints, else of their centres, in sizes of the larger one."""
    size = max(_extent(a).max(initial=0), _extent(b).max(initial=0), 1.0)
    both = (a[:, 2] > 0) & (b[:, 2] > 0)
    difference = a[both, :2] - b[both, :2] if both.any() else (_centre(a) - _centre(b))[None]
    return float(np.linalg.norm(difference, axis=1).mean() / size)


def _centre(body: np.ndarray) -> np.ndarray:
    return body[body[:, 2] > 0, :2].mean(axis=0)


def _extent(body: np.ndarray) -> np.ndarray:
    """Return width and height [2] of the box around the visible points; [0] without any."""
    visible = body[body[:, 2] > 0, :2]
    return np.ptp(visible, axis=0) if len(visible) else np.zeros(0)


def _area(person: Person) -> float:
    return float(np.prod(_extent(person.body))) if person.body[:, 2].any() else 0.0
