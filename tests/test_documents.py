"""What the documents name is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted(path.name for path in ROOT.glob("*.md"))


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_file_that_a_document_names_exists(document):
    text = (ROOT / document).read_text(encoding="utf-8")
    named = re.findall(r"\]\((?!https?:)([^)#]+)\)", text)
    named += re.findall(r"`((?:nodes|magicdance_core|tests|web|locales|workflows|\.ci|\.github)/[\w./-]*)`", text)
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_contributing_has_a_line_for_every_room():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rooms = [path.parent.name for path in (ROOT / "magicdance_core").glob("*/__init__.py")]
    assert len(rooms) > 5
    assert [room for room in rooms if f"| `magicdance_core/{room}/` |" not in text] == []
