"""Data flows one way: no room imports one that imports it, directly or through others."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

CORE = Path(__file__).parent.parent / "magicdance_core"


def room(path: Path) -> str:
    """The folder of the core that a file lies in, or the file itself where it lies in none."""
    first, *rest = path.relative_to(CORE).parts
    return first if rest else path.stem


def imported(path: Path) -> set[str]:
    """The rooms that a file imports, wherever in it: at the top, in functions, for type checkers."""
    package = (CORE.name, *path.relative_to(CORE).parent.parts)
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            above = package[: len(package) + 1 - node.level] if node.level else ()
            module = (*above, *(node.module or "").split("."))
            names = [(*filter(None, module), alias.name) for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [tuple(alias.name.split(".")) for alias in node.names]
        else:
            continue
        found |= {name[1] for name in names if name[0] == CORE.name and len(name) > 1}
    return found & rooms()


def rooms() -> set[str]:
    return {path.stem for path in CORE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}


def arrows() -> dict[str, set[str]]:
    """For each room those that it imports. The door of the package, which imports on demand only, is none."""
    found: dict[str, set[str]] = {name: set() for name in rooms() - {"__init__"}}
    for path in CORE.rglob("*.py"):
        if (here := room(path)) != "__init__":
            found[here] |= imported(path) - {here}
    return found


def test_no_arrow_runs_up():
    try:
        TopologicalSorter(arrows()).prepare()
    except CycleError as error:
        raise AssertionError(" -> ".join(reversed(error.args[1]))) from None


def test_the_arrows_are_seen():
    found = arrows()
    assert {"media", "files", "errors"} <= found["pose"] and "pose" in found["puppets"]
    assert {"pipeline", "evaluation"} <= found["commands"] and "pipeline" in found["evaluation"]
    assert "data" in found["training"] and "training" not in found["data"]
    assert not found["errors"] and found["files"] == {"errors", "limits"}
