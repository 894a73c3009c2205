"""Digests of what a run of `animate` reads, by which a resumed run tells that something was replaced since."""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..files import fingerprint
from .scene import REFERENCE, VIDEO, is_scene

if TYPE_CHECKING:
    from ..pose.keypoints import PoseFrame
    from ..pose.maps import PoseMaps


def contents_of(options: argparse.Namespace, poses: PoseMaps | None) -> dict[str, str]:
    """Return digests of the poses and the background, and of the files of the model, LoRAs, motion module and motion
    LoRAs, by name."""
    from ..checkpoints import EMBEDDED, EMBEDDED_MOTION

    model = EMBEDDED if options.model == "embedded" else Path(options.model)
    found = {"model": fingerprint(model)}
    if poses is not None:
        known = poses.keypoints
        found["poses"] = fingerprint(options.poses) if known is None else keypoint_digest(known)
    if options.motion not in (None, "none"):
        found["motion"] = fingerprint(EMBEDDED_MOTION if options.motion == "embedded" else Path(options.motion))
    for name in ("lora", "face_lora", "motion_lora"):
        if files := getattr(options, name):
            found[name] = " ".join(fingerprint(file) for file, _ in files)
    if is_scene(options) and options.background != REFERENCE:
        found["background"] = fingerprint(options.video if options.background == VIDEO else Path(options.background))
    return found


def keypoint_digest(frames: Sequence[PoseFrame]) -> str:
    """Return 16 hexadecimal digits that change with any keypoint, and with the size of any canvas."""
    from ..pose.keypoints import people_to_points

    digest = hashlib.blake2b(digest_size=8)
    for frame in frames:
        digest.update(f"{len(frame.people)} {frame.width} {frame.height} ".encode())
        digest.update(people_to_points(frame.people).tobytes())
    return digest.hexdigest()
