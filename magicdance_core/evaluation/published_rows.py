"""The paper's Table 1 (arXiv 2311.12052) as rows to compare with, and what is known to be wrong with its protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .table import Cell, Column

KEYS = ("fid", "ssim", "psnr_published", "lpips", "l1_published", "face_cos", "fid_vid")
_ROWS = {
    "FOMM*": (85.03, 0.648, 29.01, 0.335, 3.61e-4, 0.190, 90.09),
    "MRAA*": (54.47, 0.672, 29.39, 0.296, 3.21e-4, 0.337, 66.36),
    "TPS*": (53.78, 0.673, 29.18, 0.299, 3.23e-4, 0.280, 72.55),
    "DreamPose": (72.62, 0.511, 28.11, 0.442, 6.88e-4, 0.085, 78.77),
    "DisCo": (50.68, 0.648, 28.81, 0.309, 4.27e-4, None, 69.68),
    "DisCo, more pretraining": (30.75, 0.668, 29.03, 0.292, 3.78e-4, 0.166, 59.90),
    "MagicPose": (25.50, 0.752, 29.53, 0.292, 0.81e-4, 0.426, 46.30),
}
NAMES = tuple(f"{name} (paper)" for name in _ROWS)
SAME_IN_BOTH = ("ssim", "face_cos", "fid_vid")
"""Metrics that the published protocol computes as the correct one does."""
FAULTS = (
    "Rows with (paper) are copied from Table 1 of arXiv 2311.12052 (TikTok), not measured here; * marks methods that "
    "see the target frame.",
    "Its protocol has known faults: PSNR of 8-bit differences that overflow (too high); L1 divided by the number of "
    "pixels twice, so that 512 x 512 lower it fourfold against 256 x 256; LPIPS of input in [0, 1] (too low); FID of "
    "frames resized without antialiasing. Its rows compare with figures of --protocol published only.",
)


def published_cells(columns: Sequence[Column], published: bool) -> dict[str, dict[str, Cell]]:
    """Return name -> key of a column -> the paper's value, or a note.

    published: the table is made by the published protocol. With the correct one, metrics that the paper's protocol
    computes in another way have a note in place of a value.
    """
    return {name: _row(dict(zip(KEYS, values)), columns, published) for name, values in zip(NAMES, _ROWS.values())}


def _row(values: Mapping[str, float | None], columns: Sequence[Column], published: bool) -> dict[str, Cell]:
    shown = KEYS if published else SAME_IN_BOTH
    row = {column.key: Cell(values[column.key]) for column in columns if column.key in shown}
    for column in columns:
        if column.key not in row and {column.key, f"{column.key}_published"} & set(KEYS):
            row[column.key] = Cell(note="other protocol")
    return row
