"""Figures of the documents that are counted, not measured, against what the commands count."""

import re
from pathlib import Path

import pytest

from benchmarks.price import share_of_published
from magicdance_core.sampling import PRESETS

DOCS = Path(__file__).parents[2] / "docs"
EXACT_STEPS = {"benchmarks.md": 20, "speed.md": 50}  # of the command above the table, and as published


def read(document: str) -> str:
    return (DOCS / document).read_text(encoding="utf-8")


def table(document: str, first: str) -> dict[str, list[str]]:
    """Return the cells of each row of the table whose head begins with a word, by the row's first cell."""
    text = read(document)
    lines = text[text.index(f"| {first} |") :].split("\n\n")[0].splitlines()
    cells = [[cell.strip(" `*") for cell in line.strip("|").split("|")] for line in lines]
    return {row[0]: row[1:] for row in [cells[0], *cells[2:]]}


def rounded(stated: str):
    """Return a value that equals any number that rounds to what is stated."""
    return pytest.approx(float(stated), abs=0.5 * 10 ** -len(stated.partition(".")[2]))


@pytest.mark.parametrize("document", ["benchmarks.md", "speed.md"])
def test_arithmetic_of_presets(document):
    rows = table(document, "preset")
    column = rows["preset"].index("arithmetic")
    steps = EXACT_STEPS[document]
    for name, preset in PRESETS.items():
        share = share_of_published(preset.count(steps), steps, preset.shortcuts)
        assert share == rounded(rows[name][column]), name
    assert re.search(rf"benchmarks\.price --steps {EXACT_STEPS['benchmarks.md']}\b", read("benchmarks.md"))


def test_every_benchmark_is_listed_with_its_command():
    files = (DOCS.parent / "benchmarks").glob("*.py")
    names = {path.stem for path in files if "def main(" in path.read_text(encoding="utf-8")}
    listed = re.findall(r"^\| `python -m benchmarks\.(\w+)", read("benchmarks.md"), re.M)
    assert names and names == set(listed)


def test_links_of_documents_lead_somewhere():
    for document in DOCS.glob("*.md"):
        for link in re.findall(r"\]\((?!https?:)([^)]+)\)", read(document.name)):
            target, _, anchor = link.partition("#")
            path = (DOCS / target).resolve() if target else document
            assert path.exists(), link
            if anchor:
                heads = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.M)
                assert anchor in {re.sub(r"[^\w -]", "", head).lower().replace(" ", "-") for head in heads}, link
