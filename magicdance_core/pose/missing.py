"""Say in words which parts of a person were not found, and for how long."""

from __future__ import annotations

import numpy as np

from .keypoints import SLICES

_JOINTS = (
    "nose", "neck", "right shoulder", "right elbow", "right wrist", "left shoulder", "left elbow", "left wrist",
    "right hip", "right knee", "right ankle", "left hip", "left knee", "left ankle", "right eye", "left eye",
)  # fmt: skip


def missing_in_words(points: np.ndarray) -> list[str]:
    """Return a sentence for each set of parts that were missing in the same frames, nobody at all first.

    points: one person's keypoints [F, 136, 3] in the order of keypoints.SLICES. Parts are body joints without the ears,
    of which a turned head hides one, and hands and face as a whole. Frames are numbered from 0.
    """
    shown = points[..., 2] > 0
    someone = shown.any(axis=1)
    sentences = []
    if not someone.all():
        sentences.append(_sentence("Nobody was found", ~someone, len(points), "frames"))
    absent = {name: someone & ~shown[:, joint] for joint, name in enumerate(_JOINTS)}
    for part, name in (("face", "face"), ("left_hand", "left hand"), ("right_hand", "right hand")):
        absent[name] = someone & ~shown[:, SLICES[part]].any(axis=1)
    together: dict[bytes, list[str]] = {}
    for name, mask in absent.items():
        if mask.any():
            together.setdefault(mask.tobytes(), []).append(name)
    for key, names in together.items():
        mask = np.frombuffer(key, bool)
        listed = " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
        subject = f"The {listed} {'were' if len(names) > 1 else 'was'} missing"
        sentences.append(_sentence(subject, mask, int(someone.sum()), "frames with the person"))
    return sentences


def longest_run(mask: np.ndarray) -> tuple[int, int]:
    """Return the start and the length of the longest run of true values, the first of equally long ones; (0, 0)."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(int)))
    starts, lengths = edges[::2], edges[1::2] - edges[::2]
    if not len(starts):
        return 0, 0
    longest = int(lengths.argmax())
    return int(starts[longest]), int(lengths[longest])


def _sentence(subject: str, mask: np.ndarray, total: int, frames: str) -> str:
    count = int(mask.sum())
    if count == total:
        return f"{subject} in all {total} {frames}."
    start, length = longest_run(mask)
    row = f", at most {length} in a row, from frame {start}" if length < count else f", in a row from frame {start}"
    return f"{subject} in {count} of {total} {frames}{row if length > 1 else ''}."
