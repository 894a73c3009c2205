"""Find what will be hard in a run before it starts: other proportions, parts not shown, motion out of frame."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .keypoints import POINTS, SLICES, PoseFrame, frames_to_points
from .proportions import ANKLES, EYES, HIPS, KNEES, NECK, NOSE, WRISTS, compare, measure, with_middle_hip

# Ratios of lengths within this factor are those of ordinary people, and of one person in two pictures.
ORDINARY = 1.25
# ... and beyond this factor those of nobody, not even of a drawn person.
MISREAD = 5.0
# Shares of the frames from which something is worth a sentence, and seconds from which a gap is.
MIN_SHARE, MIN_GAP = 0.1, 0.5
PARTS = {"left hand": ("left_hand", WRISTS[1]), "right hand": ("right_hand", WRISTS[0]), "face": ("face", NOSE)}


@dataclass(frozen=True)
class LookAhead:
    """proportions: length of the reference / length of the dancer, relative to the scale of the whole person.
    findings: sentences with a remedy each, the most serious first; empty if nothing stands out."""

    proportions: dict[str, float]
    findings: list[str]


def look_ahead(
    reference: PoseFrame, driving: Sequence[PoseFrame], fitted: Sequence[PoseFrame], fps: float, how_to_cut: str = ""
) -> LookAhead:
    """Compare the person of a reference with a motion before sampling.

    reference: one person on the reference's canvas. driving: the motion as detected. fitted: the same frames after
    retargeting, on the reference's canvas. fps: frames per second. Frames may be empty. how_to_cut: the caller's way to
    cut a video, for messages, such as " with --end".
    """
    target, dancer = (with_middle_hip(frames_to_points(frames)) for frames in ([reference], driving))
    present = dancer[:, :POINTS, 2].any(axis=1)
    if not present.any():
        return LookAhead({}, [f"The video shows nobody: choose another part of it{how_to_cut}."])
    ratios = compare(measure(dancer), measure(target), 1.0, 1.0)
    proportions = {name: round(float(value / ratios.scale), 3) for name, value in ratios.lengths.items()}
    findings = [
        *_absent(present, fps, how_to_cut),
        *_not_shown(target[0], dancer, present),
        *_close_up(target[0], dancer, present),
        *_turned_away(target[0], dancer, present),
        *_out_of_frame(fitted),
        *_gaps(dancer, present, fps),
        *_other_bodies(proportions),
    ]
    return LookAhead(proportions, findings)


def _absent(present: np.ndarray, fps: float, how_to_cut: str) -> list[str]:
    absent = 1 - present.mean()
    if absent < MIN_SHARE:
        return []
    return [
        f"The dancer is missing in {absent:.0%} of the frames, {_longest(~present) / fps:.1f} s at most: cut the video"
        f"{how_to_cut}, for the result has no pose there."
    ]


def _not_shown(target: np.ndarray, dancer: np.ndarray, present: np.ndarray) -> list[str]:
    """Body parts that the motion shows and the reference does not."""
    found = []
    for name, points, remedy in (
        ("legs", KNEES, "use a picture of the whole body"),
        ("feet", ANKLES, "use a picture of the whole body"),
        ("face", (NOSE, *EYES), "use a picture from the front"),
    ):
        share = (dancer[present][:, points, 2] > 0).all(axis=1).mean()
        if not (target[list(points), 2] > 0).any() and share >= MIN_SHARE:
            found.append(f"The reference does not show the {name}, which {share:.0%} of the frames need: {remedy}.")
            if name == "legs":
                break
    hands = [SLICES["left_hand"], SLICES["right_hand"]]
    if not any(target[hand, 2].any() for hand in hands) and any(dancer[:, hand, 2].any() for hand in hands):
        found.append("No hand was found in the reference, so hands are invented: use a picture that shows them.")
    return found


def _close_up(target: np.ndarray, dancer: np.ndarray, present: np.ndarray) -> list[str]:
    """A motion of the upper body for a reference with more: what stands still is taken from the reference."""
    for name, points in (("shoulders", [NECK]), ("hips", list(HIPS)), ("knees", list(KNEES))):
        share = (dancer[present][:, points, 2] > 0).all(axis=1).mean()
        if share < MIN_SHARE and (target[points, 2] > 0).all():
            return [
                f"The video does not show the {name}, which the reference does: from there on the body keeps the "
                "reference's pose; crop the reference alike, or use a video of the whole body."
            ]
    return []


def _turned_away(target: np.ndarray, dancer: np.ndarray, present: np.ndarray) -> list[str]:
    away = (dancer[present][:, NECK, 2] > 0) & ~(dancer[present][:, [NOSE, *EYES], 2] > 0).any(axis=1)
    if away.mean() < MIN_SHARE or not (target[[NOSE, *EYES], 2] > 0).any():
        return []
    return [
        f"The dancer is turned away in {away.mean():.0%} of the frames and the reference shows the front: the back is "
        "invented; add a picture of the back as a second reference, or cut the video."
    ]


def _out_of_frame(fitted: Sequence[PoseFrame]) -> list[str]:
    outside, farthest, shown = 0, 0.0, 0
    for frame in fitted:
        for person in frame.people:
            points = person.body[person.body[:, 2] > 0, :2] / (frame.width, frame.height)
            shown += 1
            if len(points) and (distance := float(max(points.max() - 1, -points.min()))) > 0.02:
                outside, farthest = outside + 1, max(farthest, distance)
    if not shown or outside / shown < MIN_SHARE:
        return []
    return [
        f"The motion leaves the picture in {outside / shown:.0%} of the frames, by up to {farthest:.0%} of its size: "
        "use a reference with more room around the person."
    ]


def _gaps(dancer: np.ndarray, present: np.ndarray, fps: float) -> list[str]:
    """Hands and faces that are not found where the wrist or the nose is."""
    found = []
    for name, (part, joint) in PARTS.items():
        here = present & (dancer[:, joint, 2] > 0)
        missing = here & ~dancer[:, SLICES[part], 2].any(axis=1)
        seconds, share = _longest(missing) / fps, missing.sum() / present.sum()
        if share < MIN_SHARE or seconds < MIN_GAP:
            continue
        if (missing == here).all():
            found.append(f"The {name} is never found, so none is drawn: use a sharper or closer video.")
        else:
            found.append(
                f"The {name} is not found in {share:.0%} of the frames, {seconds:.1f} s at most: it is guessed there; "
                "use a sharper or closer video."
            )
    return found


def _other_bodies(proportions: dict[str, float]) -> list[str]:
    unusual = {name: value for name, value in proportions.items() if not 1 / ORDINARY <= value <= ORDINARY}
    if not unusual:
        return []
    if any(not 1 / MISREAD <= value <= MISREAD for value in unusual.values()):
        return [
            "The pose of the reference was probably misread, as its proportions are those of nobody: look at it in the "
            "preview, and give a clearer picture of the whole person."
        ]
    listed = ", ".join(f"{name} {value:.2f}" for name, value in sorted(unusual.items(), key=lambda item: item[1]))
    return [
        f"The reference has other proportions than the dancer ({listed} times as long): check the retargeted pose "
        "before sampling; a picture of the person standing upright is measured best."
    ]


def _longest(flags: np.ndarray) -> int:
    """Return the length of the longest run of true values."""
    longest = current = 0
    for flag in flags:
        current = current + 1 if flag else 0
        longest = max(longest, current)
    return longest
