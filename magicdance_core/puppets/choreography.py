"""Generate endless dances from a seed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import cos, isfinite, pi, sin

import numpy as np

from ..errors import InputError
from .body_pose import FIELDS, HIGHEST, LOWEST, BodyPose
from .moves import arm_move, expression, leg_move, torso_move
from .random_stream import RandomStream

FRAMES_PER_SECOND = 30
_BEATS = 8  # a phrase

_INDEX = {name: k for k, name in enumerate(FIELDS)}
_EYES = [_INDEX["right_eye"], _INDEX["left_eye"]]
_NEUTRAL = BodyPose().vector()


@dataclass(frozen=True)
class Choreography:
    """A dance: phrases of eight beats, each a combination of moves, with a continuous groove."""

    seed: int
    split: str
    tempo: float  # beats per minute
    attack: float  # fraction of a beat in which a move is done; then it is held
    bounce: float  # bend of the knees on each beat
    sway: float  # of the hips, in scene units
    nod: float  # of the head, in degrees

    @classmethod
    def from_seed(cls, seed: int, split: str = "train") -> Choreography:
        """Return the dance of a seed; the splits "train" and "test" use different random streams.

        Raises InputError if the seed is not an integer or the split is unknown.
        """
        rng = RandomStream("choreography", split, seed)
        return cls(
            seed, split, tempo=rng.uniform(84, 126), attack=rng.uniform(0.75, 1.0), bounce=rng.uniform(0.03, 0.16),
            sway=rng.uniform(0.0, 0.02), nod=rng.uniform(0, 6),
        )  # fmt: skip

    def pose(self, frame: int | float) -> BodyPose:
        """Return the pose at a frame, counted from 0 at 30 frames per second, possibly a fraction.

        Raises InputError if the frame is negative or not finite.
        """
        if not (isfinite(frame) and frame >= 0):
            raise InputError(f"The frame is {frame}: give a finite number, 0 or more.")
        beat = frame / FRAMES_PER_SECOND * self.tempo / 60
        number, within = divmod(beat, _BEATS)
        keys, blinks = _phrase(self.split, self.seed, int(number))
        k = int(within)
        done = min(1.0, (within - k) / self.attack)
        vector = keys[k] + (keys[k + 1] - keys[k]) * (done * done * (3 - 2 * done))

        vector[_INDEX["crouch"]] += self.bounce * (0.5 + 0.5 * cos(2 * pi * beat))
        vector[_INDEX["root_x"]] += self.sway * sin(pi * beat)
        vector[_INDEX["head_nod"]] += self.nod * cos(2 * pi * beat)
        nearest = min(abs(within - blink) for blink in blinks) * 60 / self.tempo
        vector[_EYES] *= min(1.0, nearest / 0.12)  # a blink closes and opens in an eighth of a second each
        return BodyPose.from_vector(np.clip(vector, LOWEST, HIGHEST))


@lru_cache(maxsize=512)
def _phrase(split: str, seed: int, number: int) -> tuple[np.ndarray, tuple[float, ...]]:
    """Return the key poses [9, fields] of a phrase, the last from the next one, and the beats of its blinks."""
    keys = np.concatenate([_keys(split, seed, number), _keys(split, seed, number + 1)[:1]])
    rng = RandomStream("blinks", split, seed, number)
    return keys, (rng.uniform(0.5, 3.5), rng.uniform(4.5, 7.5))


def _keys(split: str, seed: int, number: int) -> np.ndarray:
    """Return eight key poses, one per beat."""
    rng = RandomStream("phrase", split, seed, number)
    tracks = [_track(rng, make) for make in (arm_move, leg_move, torso_move)]
    tracks.append(expression(rng) + expression(rng))
    poses = []
    for beat in range(_BEATS):
        vector = _NEUTRAL.copy()
        for track in tracks:
            for name, value in track[beat].items():
                vector[_INDEX[name]] = value
        poses.append(np.clip(vector, LOWEST, HIGHEST))
    if rng.chance(0.5):
        poses = [BodyPose.from_vector(p).mirrored().vector() for p in poses]
    return np.stack(poses)


def _track(rng: RandomStream, make) -> list[dict[str, float]]:
    """Return eight keys: one move twice, two moves, or one move at half speed."""
    kind = rng.weighted_choice({"twice": 3, "two": 3, "half": 2})
    first = make(rng)
    if kind == "half":
        return [first[beat // 2] for beat in range(_BEATS)]
    return first + (first if kind == "twice" else make(rng))
