"""Figures of the documents that are counted, not measured, against what the commands count."""

import re
from pathlib import Path

import pytest

from benchmarks.price import share_of_published
from magicdance_core.sampling import PRESETS

DOCS = Path(__file__).parents[2] / "docs"
EXACT_STEPS = 20  # of the table in docs/speed.md


def table(document: str, first: str) -> dict[str, list[str]]:
    """Return the cells of each row of the table whose head begins with a word, by the row's first cell."""
    text = (DOCS / document).read_text(encoding="utf-8")
    lines = text[text.index(f"| {first} |") :].split("\n\n")[0].splitlines()
    cells = [[cell.strip(" `*") for cell in line.strip("|").split("|")] for line in lines]
    return {row[0]: row[1:] for row in [cells[0], *cells[2:]]}


def test_arithmetic_of_the_presets():
    rows = table("speed.md", "preset")
    column = rows["preset"].index("arithmetic")
    for name, preset in PRESETS.items():
        stated = rows[name][column]
        share = share_of_published(preset.count(EXACT_STEPS), EXACT_STEPS, preset.shortcuts)
        assert float(stated) == pytest.approx(share, abs=0.5 * 10 ** -len(stated.partition(".")[2])), name
    assert re.search(rf"benchmarks\.price --steps {EXACT_STEPS}\b", (DOCS / "speed.md").read_text(encoding="utf-8"))
