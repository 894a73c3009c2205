"""Generated frames against true ones, whatever made them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from ..errors import InputError
from ..media import Frames, read_frames
from .metrics import grey, l1, psnr, published_l1, ssim, to_float

NAMED_AT_MOST = 5


def compare(generated: str | Path, truth: str | Path) -> dict:
    """Mean metrics over the frames of two folders, videos or pictures.

    Frames of two folders belong together by their names without suffix; all others by their order. Generated frames of
    another size are resized to the true ones' (bilinear), as published.

    Returns frames (their number); psnr, dB, the mean over frames of each frame's own; ssim of the grey pictures, as
    published; l1 in [0, 1]; l1_published (see metrics.published_l1); width and height of the first true frame; resized,
    the number of frames that were. Raises InputError where frames are missing or cannot be read.
    """
    results, resized, size = [], 0, None
    for made, true in _pairs(generated, truth):
        size = size or true.size
        image, target = np.asarray(made), np.asarray(true)
        if min(true.size) < 7:
            raise InputError(f"The frames of {truth} are too small to compare; give at least 7 x 7 pixels.")
        if image.shape != target.shape:
            image = cv2.resize(image, true.size)
            resized += 1
        a, b = to_float(image), to_float(target)
        results.append((psnr(a, b), ssim(grey(image), grey(target)), l1(a, b), published_l1(a, b)))
    means = np.mean(results, axis=0).tolist()
    report = dict(zip(("psnr", "ssim", "l1", "l1_published"), means))
    return {"frames": len(results), **report, "width": size[0], "height": size[1], "resized": resized}


def _pairs(generated: str | Path, truth: str | Path) -> Iterator[tuple]:
    made, true = read_frames(generated), read_frames(truth)
    if made.names and true.names:
        _check_names(made, generated, true, truth)
    pairs = zip_longest(made, true)
    for number, (image, target) in enumerate(tqdm(pairs, total=true.count, desc="comparing", unit="frame")):
        if image is None or target is None:
            shorter = generated if image is None else truth
            raise InputError(f"{shorter} ends after {number} frames, the other goes on; give as many frames in both.")
        yield image, target


def _check_names(made: Frames, generated: str | Path, true: Frames, truth: str | Path) -> None:
    for names, folder, wanted, other in (
        (made.names, generated, true.names, truth),
        (true.names, truth, made.names, generated),
    ):
        if len(set(names)) < len(names):
            double = next(name for name in names if names.count(name) > 1)
            raise InputError(f"{folder} holds several pictures named {double}; keep one.")
        if missing := [name for name in wanted if name not in set(names)]:
            listed = ", ".join(missing[:NAMED_AT_MOST]) + (", ..." if len(missing) > NAMED_AT_MOST else "")
            raise InputError(
                f"{folder} lacks {len(missing)} of the frames in {other} ({listed}); frames are matched by name, "
                "so rename, add or remove some."
            )
