"""People by MediaPipe's networks, followed from picture to picture."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..keypoints import Person
from .mediapipe_body import Body, body_region, find_body, find_new_body, same_person
from .mediapipe_face import Face, find_face
from .mediapipe_files import read_networks
from .mediapipe_hands import Hand, find_hands
from .mediapipe_networks import PERSON, Run, make_networks, run_network
from .mediapipe_person import make_person, shown_box
from .regions import Region, whole_picture

MOST_PEOPLE = 16
LOOK_EVERY = 10  # pictures
TILE_SIDE = 0.6  # of the picture's longer side
TILE_THRESHOLD = 0.7  # at most 0.67 was seen in tiles without people


@dataclass(frozen=True)
class _Followed:
    """A person of a picture, with what is needed to find it in the next one."""

    body: Body
    hands: dict[str, Hand | None] = field(default_factory=dict)
    face: Face | None = None
    new: bool = False


class MediaPipeDetector:
    """Finds people with MediaPipe's networks: where they were in the last picture, else in the whole picture.

    networks: a torch ModuleDict of `mediapipe_networks.make_networks`. device: where they run; None: where their
    weights are. run: replaces the networks, in tests.
    """

    def __init__(self, networks=None, device=None, run: Run | None = None):
        self.networks, self.device = networks, device
        self._run = run or self._run_network
        self.reset()

    @classmethod
    def from_folder(cls, folder: str | Path, device="cpu") -> MediaPipeDetector:
        """Load the networks. Raises InputError as `mediapipe_files.read_networks`."""
        return cls(make_networks(read_networks(folder)).to(device))

    def reset(self) -> None:
        """See `Detector.reset`."""
        self._people: list[_Followed] = []
        self._size: tuple[int, int] | None = None
        self._since_look = 0

    def detect(self, picture: np.ndarray) -> tuple[Person, ...]:
        """See `Detector.detect`. Pictures are taken as those of a video, in their order.

        On a CPU the networks, of a few million weights, run on one thread unless the user has set a number.
        """
        from ...cpu import SMALL_SAMPLING, threads, threads_for

        with threads(threads_for(self.networks, small=SMALL_SAMPLING)):
            return self._detect(picture)

    def _detect(self, picture: np.ndarray) -> tuple[Person, ...]:
        height, width = picture.shape[:2]
        if self._size != (width, height):
            self.reset()
            self._size = (width, height)
        followed = self._follow(picture)
        self._since_look += 1
        if not followed or len(followed) < len(self._people) or self._since_look >= LOOK_EVERY:
            followed = self._look(picture, followed)
            self._since_look = 0
        self._people = [self._with_parts(picture, person) for person in followed]
        if not self._people:
            return ()
        box = shown_box(picture)
        return tuple(make_person(p.body, p.hands, p.face, box) for p in self._people)

    def _follow(self, picture: np.ndarray) -> list[_Followed]:
        """Return the last picture's people that are found where they are expected, without hands and face of now."""
        found: list[_Followed] = []
        for person in self._people:
            body = find_body(self._run, picture, person.body.next_region)
            if body is not None and not _is_known(body, found):
                found.append(_Followed(body, person.hands, person.face))
        return found

    def _look(self, picture: np.ndarray, known: list[_Followed]) -> list[_Followed]:
        """Return the known people and those that are found in the whole picture; if there is nobody, in its parts."""
        height, width = picture.shape[:2]
        people = list(known)
        for body in self._bodies(picture, whole_picture(width, height), PERSON.threshold):
            if not _is_known(body, people):
                people.append(_Followed(body, new=True))
        if not people and max(width, height) > PERSON.size:
            for tile in tiles(width, height):
                for body in self._bodies(picture, tile, TILE_THRESHOLD):
                    if not _is_known(body, people):
                        people.append(_Followed(body, new=True))
        return sorted(people, key=lambda person: -person.body.presence)[:MOST_PEOPLE]

    def _bodies(self, picture: np.ndarray, region: Region, threshold: float) -> Iterator[Body]:
        for detection in PERSON.find(self._run, picture, region, threshold)[:MOST_PEOPLE]:
            body = find_new_body(self._run, picture, body_region(*detection.keypoints[:2]))
            if body is not None:
                yield body

    def _with_parts(self, picture: np.ndarray, person: _Followed) -> _Followed:
        hands = find_hands(self._run, picture, person.body, person.hands)
        face = find_face(self._run, picture, person.body, person.face, person.new)
        return _Followed(person.body, hands, face)

    def _run_network(self, name: str, crop: np.ndarray) -> list[np.ndarray]:
        device = self.device or next(self.networks.parameters()).device
        return run_network(self.networks, device, name, crop)


def tiles(width: int, height: int) -> list[Region]:
    """Return the overlapping squares in which small people are looked for: at most two in each direction."""
    side = TILE_SIDE * max(width, height)
    columns, rows = ([size / 2] if size <= side else [side / 2, size - side / 2] for size in (width, height))
    return [Region(x, y, side) for y in rows for x in columns]


def _is_known(body: Body, people: list[_Followed]) -> bool:
    return any(same_person(body, person.body) for person in people)
