"""Retarget the motion of one person to the body of another."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..choices import POSITIONS
from ..errors import InputError
from .filling import typical_size
from .keypoints import POINTS, SLICES, PoseFrame, frames_to_points, points_to_frames
from .proportions import (
    ANKLES,
    EARS,
    ELBOWS,
    EYES,
    HIPS,
    KNEES,
    MIDDLE_HIP,
    NECK,
    NOSE,
    SHOULDERS,
    WRISTS,
    Ratios,
    compare,
    measure,
    with_middle_hip,
)
from .tracking import person_size

# Weight of limb lengths measured in a single reference picture, against the overall scale of the person.
TRUST, NECK_TRUST = 0.8, 0.4
# A reference this far, in person sizes, outside the range that a clip covers still counts as inside: a single picture
# of a dance may show a step to the side.
MARGIN = 0.1
# The quantile of the lower foot's height over a clip that is the ground: feet are on it most of the time.
GROUND_QUANTILE = 0.9
# A point in a smaller share of the frames counts as not shown: a close-up shows a shoulder now and then.
MIN_SHARE = 0.1
_RIGHT_TO_LEFT = (0, 1)


@dataclass(frozen=True)
class _Bone:
    """A keypoint that moves with its parent; if that is missing, with the parent's parent, and so on."""

    point: int
    parent: int
    across: str  # name of the length that scales its x component
    along: str  # ... its y component


def _bones() -> tuple[_Bone, ...]:
    def bone(point: int, parent: int, across: str, along: str | None = None) -> _Bone:
        return _Bone(point, parent, across, along or across)

    bones = [bone(MIDDLE_HIP, NECK, "torso"), bone(NOSE, NECK, "neck")]
    for s in _RIGHT_TO_LEFT:
        bones += [
            bone(SHOULDERS[s], NECK, "shoulders"),
            bone(ELBOWS[s], SHOULDERS[s], "upper arm"),
            bone(WRISTS[s], ELBOWS[s], "lower arm"),
            bone(HIPS[s], MIDDLE_HIP, "hips"),
            bone(KNEES[s], HIPS[s], "thigh"),
            bone(ANKLES[s], KNEES[s], "shin"),
            bone(EYES[s], NOSE, "head width", "head height"),
            bone(EARS[s], NOSE, "head width", "head height"),
        ]
        hand = SLICES[("right_hand", "left_hand")[s]]
        bones += [bone(point, WRISTS[s], "hand") for point in range(hand.start, hand.stop)]
    face, feet = SLICES["face"], SLICES["feet"].start
    bones += [bone(point, NOSE, "head width", "head height") for point in range(face.start, face.stop)]
    bones += [bone(feet + k, ANKLES[1 if k < 3 else 0], "shin") for k in range(6)]
    return tuple(bones)


_BONES = _bones()
_PARENTS = {bone.point: bone.parent for bone in _BONES} | {HIPS[0]: MIDDLE_HIP, HIPS[1]: MIDDLE_HIP}


def retarget(
    frames: Sequence[PoseFrame],
    reference: PoseFrame,
    *,
    like: int | None = None,
    position: str = "auto",
    fill_missing: bool = True,
    trust: float | None = None,
) -> list[PoseFrame]:
    """Return the motion of one person with the proportions of another: frames on the reference's canvas.

    frames: at most one person each, all of one canvas size; empty frames stay empty.
    reference: the pose of the person to fit to; of several people the largest.
    like: the number of a driving frame in the same pose as the reference, whose lengths are compared with it. By
    default the lengths of the whole clip are, in which most limbs are visible at full length once.
    position: "driving", the person moves over the same fractions of the canvas as in the clip; "reference", the clip's
    median position is moved to the reference's, and paths scale with the person; "auto", for each axis the former if
    the reference stands within (or next to) the range that the clip covers, else the latter; "in place", place, size
    and canvas of the clip are kept, and only proportions change.
    fill_missing: take body points that (nearly) no driving frame has from the reference, moving with their nearest
    joint; below a head without a neck the body stands still.
    trust: 0 only scales the whole person, 1 takes each limb's length from the reference; by default 1 with `like` and
    0.8 without, as limbs are foreshortened in a single picture.

    Each limb keeps its direction and gets the reference's length; hand points scale about the wrist, face points about
    the nose, with separate factors for width and height. Lengths unknown of either person follow the overall scale
    (torso and legs, else head and shoulders). If both have ankles, feet stay on the reference's ground: the lower ankle
    keeps its height above the ground in leg lengths. Otherwise the middle of the hips is positioned, or the neck, so
    that the legs may leave the canvas of a half-body reference, and a half-body clip gets the reference's legs.
    Raises InputError if there is nobody in the reference or in the frames, or an argument is out of range.
    """
    if position not in POSITIONS:
        raise InputError(f"The position {position!r} is unknown: choose one of {', '.join(POSITIONS)}.")
    if position == "in place":
        reference, position, fill_missing = _in_size_of(frames, reference), "driving", False
    if trust is not None and not 0 <= trust <= 1:
        raise InputError(f"trust is {trust}: give a number from 0 to 1.")
    driver, target = with_middle_hip(frames_to_points(frames)), _reference_points(reference)
    shown = driver[..., 2].any(axis=1)
    if not shown.any():
        raise InputError("No driving frame has a person: give poses of somebody.")
    usual = (TRUST, NECK_TRUST) if like is None else (1.0, 1.0)
    ratios = compare(
        measure(_frames_to_measure(driver, like)), measure(target), *(usual if trust is None else (trust, trust))
    )
    fitted = _scale_limbs(driver, ratios)
    if fill_missing:
        _add_missing(driver[shown], fitted, target[0])
    fitted[..., :2] += _shift(driver, fitted, target[0], ratios, position, frames[0], reference)[:, None]
    fitted[(fitted[..., 2] <= 0) | ~shown[:, None]] = 0
    identity = next(p.identity for f in frames for p in f.people)
    return points_to_frames(fitted[:, :POINTS], reference.width, reference.height, identity)


def first_frame_with_people(frames: Sequence[PoseFrame]) -> PoseFrame:
    """Return the first frame with a person. Raises InputError if there is none."""
    for frame in frames:
        if frame.people:
            return frame
    raise InputError("The reference shows nobody: give a picture or keypoints of the person to fit to.")


def _reference_points(reference: PoseFrame) -> np.ndarray:
    if not any(person.body[:, 2].any() for person in reference.people):
        raise InputError("The reference pose shows nobody: give a picture or keypoints of the person to fit to.")
    largest = max(reference.people, key=person_size)
    return with_middle_hip(frames_to_points([replace(reference, people=(largest,))]))


def _frames_to_measure(driver: np.ndarray, like: int | None) -> np.ndarray:
    if like is None:
        return driver
    if not 0 <= like < len(driver):
        raise InputError(f"There is no driving frame {like}: give a number from 0 to {len(driver) - 1}.")
    if not driver[like, :, 2].any():
        raise InputError(f"The driving frame {like} shows nobody: choose another one.")
    return driver[like : like + 1]


def _scale_limbs(driver: np.ndarray, ratios: Ratios) -> np.ndarray:
    """Scale every limb along its direction, from the neck on. The result is not yet positioned on the canvas."""
    fitted = driver.copy()
    fitted[..., :2] *= ratios.scale  # for points without any parent
    for bone in _BONES:
        here, waiting = driver[:, bone.point, 2] > 0, driver[:, bone.point, 2] > 0
        parent = bone.parent
        factors = np.array([ratios[bone.across], ratios[bone.along]])
        while waiting.any():
            carried = waiting & (driver[:, parent, 2] > 0)
            offset = driver[carried, bone.point, :2] - driver[carried, parent, :2]
            fitted[carried, bone.point, :2] = fitted[carried, parent, :2] + offset * factors
            waiting &= ~carried
            if parent not in _PARENTS:
                break
            parent, factors = _PARENTS[parent], np.full(2, ratios.scale)
        fitted[~here, bone.point] = 0
    return fitted


def _add_missing(driver: np.ndarray, fitted: np.ndarray, target: np.ndarray) -> None:
    """Add body points that no driving frame has to `fitted`: the reference's, relative to their nearest joint."""
    missing = (driver[..., 2] > 0).mean(axis=0) < MIN_SHARE
    if missing[NECK] and not missing[NOSE] and target[[NECK, NOSE], 2].all():
        _add_neck(fitted, target)
    for bone in _BONES:
        point, parent = bone.point, bone.parent
        if not missing[point] or target[point, 2] == 0 or SLICES["body"].stop <= point < POINTS:
            continue
        while target[parent, 2] == 0 and parent in _PARENTS:
            parent = _PARENTS[parent]
        if target[parent, 2] == 0:
            continue
        here = fitted[:, parent, 2] > 0
        fitted[here, point, :2] = fitted[here, parent, :2] + target[point, :2] - target[parent, :2]
        fitted[here, point, 2] = target[point, 2]


def _add_neck(fitted: np.ndarray, target: np.ndarray) -> None:
    """Put a neck below the head of a close-up: it stands still until the head is half its length from the middle."""
    here = fitted[:, NOSE, 2] > 0
    nose, length = fitted[here, NOSE, :2], target[NECK, :2] - target[NOSE, :2]
    middle = np.median(nose, axis=0)
    away = np.linalg.norm(nose - middle, axis=1, keepdims=True).clip(1e-6)
    followed = (nose - middle) * (1 - np.linalg.norm(length) / 2 / away).clip(0)
    fitted[here, NECK, :2] = middle + followed + length
    fitted[here, NECK, 2] = target[NECK, 2]


def _in_size_of(frames: Sequence[PoseFrame], reference: PoseFrame) -> PoseFrame:
    """Return the reference in the size of the person in a clip, on the clip's canvas."""
    driver, target = with_middle_hip(frames_to_points(frames)), _reference_points(reference)
    scale = compare(measure(driver), measure(target), TRUST, NECK_TRUST).scale if driver[..., 2].any() else 1.0
    points = target[:, :POINTS] / [scale, scale, 1]
    return points_to_frames(points, frames[0].width, frames[0].height)[0]


def _shift(driver, fitted, target, ratios: Ratios, position: str, frame: PoseFrame, reference: PoseFrame) -> np.ndarray:
    """Return the translation [F, 2] of each frame on the reference's canvas, interpolated without an anchor."""
    anchor, feet = _anchor(driver, target)
    seen = (driver[:, anchor, 2] > 0).all(axis=1)
    before, after = (_position(points[seen], anchor, feet) for points in (driver, fitted))
    size, new_size = (np.array([f.width, f.height], np.float64) for f in (frame, reference))
    goal, kept = _position(target[None], anchor, feet)[0], before / size * new_size
    median_position = np.median(before, axis=0)
    if feet:
        median_position[1] = np.quantile(before[:, 1], GROUND_QUANTILE)
    moved = goal + (before - median_position) * ratios.scale
    keep = np.full(2, position == "driving")
    if position == "auto":
        margin = MARGIN * typical_size(target[None])
        keep = (kept.min(axis=0) - margin <= goal) & (goal <= kept.max(axis=0) + margin)
        keep[1] &= not feet  # the ground is the reference's
    wanted = np.where(keep, kept, moved)
    frames = np.arange(len(driver))
    return np.stack([np.interp(frames, np.flatnonzero(seen), (wanted - after)[:, k]) for k in (0, 1)], axis=1)


def _anchor(driver: np.ndarray, target: np.ndarray) -> tuple[list[int], bool]:
    """Return the points that define the position of a person, and whether they are feet."""
    choices = ([*ANKLES, MIDDLE_HIP], [MIDDLE_HIP], [NECK], [NOSE])
    for points in choices:
        if (target[points, 2] > 0).all() and (driver[:, points, 2] > 0).all(axis=1).any():
            return points, len(points) > 1
    shown = [_shown(target[None]), _shown(driver)]
    raise InputError(
        f"The reference has {shown[0]} and the driving poses {shown[1]}, so the motion cannot be placed: "
        "give a reference and poses that share the hips, the neck or the nose."
    )


def _shown(points: np.ndarray) -> str:
    """Return which of the points that define a position are in some frame."""
    names = {"hips": MIDDLE_HIP, "neck": NECK, "nose": NOSE}
    return " and ".join(name for name, point in names.items() if points[:, point, 2].any()) or "none of them"


def _position(points: np.ndarray, anchor: list[int], feet: bool) -> np.ndarray:
    """Return x of the hips and y of the lower ankle, or the position of the single anchor point: [F, 2]."""
    position = points[:, anchor[-1], :2].copy()
    if feet:
        position[:, 1] = points[:, anchor[:2], 1].max(axis=1)
    return position
