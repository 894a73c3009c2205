"""Generated frames against true ones, whatever made them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from ..errors import InputError
from ..media import read_frames
from .metrics import grey, l1, psnr, published_l1, ssim, to_float
from .videos import frame_pairs


def compare(generated: str | Path, truth: str | Path) -> dict:
    """Mean metrics over the frames of two folders, videos or pictures.

    Frames of two folders belong together by their names without suffix; all others by their order. Generated frames of
    another size are resized to the true ones' (bilinear), as published.

    Returns frames (their number); psnr, dB, the mean over frames of each frame's own; ssim of the grey pictures, as
    published; l1 in [0, 1]; l1_published (see metrics.published_l1); width and height of the first true frame; resized,
    the number of frames that were. Raises InputError where frames are missing or cannot be read.
    """
    results, resized, size = [], 0, None
    pairs = frame_pairs(generated, truth)
    for made, true in tqdm(pairs, total=read_frames(truth).count, desc="comparing", unit="frame"):
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
