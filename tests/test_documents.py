"""Documents: their files exist, and their Python examples run."""

import re
from pathlib import Path

import pytest

import magicdance_core

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_file_that_a_document_names_exists(document):
    text = document.read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", text)
    assert [name for name in links if not (document.parent / name).exists()] == []
    named = re.findall(
        r"`((?:nodes|magicdance_core|benchmarks|tests|web|locales|workflows|\.ci|\.github)/[\w./-]*)`", text
    )
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_links_to_the_repository_name_existing_files():
    address = (
        r"https://(?:github|raw\.githubusercontent)\.com/magicdance-video/ComfyUI-MagicDance-Video/(?:blob/)?main/"
    )
    links = re.findall(address + r"([^)#\s]+)", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert len(links) > 5 and [name for name in links if not (ROOT / name).exists()] == []


def test_the_readme_is_short_and_links_relatively_to_published_files_only():
    """The archive of the Comfy registry leaves out what .comfyignore lists."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    ignored = [line.strip("/") for line in (ROOT / ".comfyignore").read_text().splitlines() if line and line[0] != "#"]
    relative = re.findall(r"\]\((?!https?:)([^)#]+)\)", text)
    assert len(text.splitlines()) <= 150
    assert [link for link in relative if any(link == name or link.startswith(f"{name}/") for name in ignored)] == []


def test_contributing_has_a_line_for_every_room():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rooms = [path.parent.name for path in (ROOT / "magicdance_core").glob("*/__init__.py")]
    assert len(rooms) > 5
    assert [room for room in rooms if f"| `magicdance_core/{room}/` |" not in text] == []


def examples(document: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / document).read_text(encoding="utf-8"), re.DOTALL)


def test_python_examples_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names, code = {}, examples("docs/python.md")
    for example in code:
        exec(compile(example, "docs/python.md", "exec"), names)  # noqa: S102
    assert {"frame.png", "my_model"} <= {path.name for path in tmp_path.iterdir()}
    public = set(magicdance_core.__all__) - {"InputError", "MagicDanceOutput", "Preset"}
    assert [name for name in public if not any(name in example for example in code)] == []


def test_every_export_can_be_imported():
    assert all(getattr(magicdance_core, name) is not None for name in magicdance_core.__all__)
    with pytest.raises(ImportError, match="Pipeline"):
        from magicdance_core import Pipeline  # noqa: F401
