"""Write the texts that follow from the node classes: locales/*/nodeDefs.json, and the values in the help pages.

Run it after a change of a node's texts or widgets (`make locales`):

    python locales/make.py

Translations come from the catalogues texts/LANGUAGE.json: English text -> translation; the first entry says how they
were made. A help page lists the inputs as "- `name` (values): meaning", which fits the width of the Info panel; this
fills in the values.
"""

import importlib
import json
import re
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

ROOT = Path(__file__).parents[1]
ENGLISH = ROOT / "locales" / "en" / "nodeDefs.json"
CATALOGUES = sorted((ROOT / "locales" / "texts").glob("*.json"))
MARK = ""  # key of the sentence that says how a catalogue was made
HEAD = "**Inputs**\n\n"
LARGEST = 2**64 - 1


def load_nodes() -> ModuleType:
    """Import the pack's `nodes` as in a ComfyUI without any model file."""
    no_files = {"get_filename_list": lambda key: [], "get_folder_paths": lambda key: []}
    sys.modules["folder_paths"] = SimpleNamespace(**no_files, get_input_directory=lambda: ROOT / "no_input")
    pack = sys.modules.setdefault("pack", ModuleType("pack"))
    pack.__path__ = [str(ROOT)]
    return importlib.import_module("pack.nodes")


def texts() -> dict[Path, str]:
    """Return the generated files: path -> text."""
    nodes = load_nodes()
    english = {
        name: translatable(cls, nodes.NODE_DISPLAY_NAME_MAPPINGS[name])
        for name, cls in nodes.NODE_CLASS_MAPPINGS.items()
    }
    made = {ENGLISH: json.dumps(english, indent=2, ensure_ascii=False) + "\n"}
    for catalogue in CATALOGUES:
        translations = json.loads(catalogue.read_text(encoding="utf-8"))
        made[ENGLISH.parents[1] / catalogue.stem / ENGLISH.name] = translated(english, translations, catalogue)
    for name, cls in nodes.NODE_CLASS_MAPPINGS.items():
        page = ROOT / "web" / "docs" / f"{name}.md"
        made[page] = with_values(page.read_text(encoding="utf-8"), cls, page.name)
    return made


def inputs(cls: type) -> dict[str, tuple]:
    types = cls.INPUT_TYPES()
    return types["required"] | types.get("optional", {})


def translatable(cls: type, title: str) -> dict:
    """Return a node's entry in nodeDefs.json."""
    outputs = zip(cls.RETURN_NAMES, cls.OUTPUT_TOOLTIPS)
    return {
        "display_name": title,
        "description": cls.DESCRIPTION,
        "inputs": {
            name: {"name": options.get("display_name", name), "tooltip": options["tooltip"]}
            for name, (_, options) in inputs(cls).items()
        },
        "outputs": {str(k): {"name": name, "tooltip": tooltip} for k, (name, tooltip) in enumerate(outputs)},
    }


def translated(english: dict, translations: dict[str, str], catalogue: Path) -> str:
    """Return nodeDefs.json in the language of a catalogue. Exit unless it has just the texts of the nodes."""
    known: set[str] = set()

    def translate(value):
        if isinstance(value, dict):
            return {key: translate(part) for key, part in value.items()}
        known.add(value)
        return translations.get(value, "")

    made = translate(english)
    given = set(translations) - {MARK}
    if missing := sorted(known - given):
        sys.exit(f"{catalogue.name} lacks {len(missing)} texts: {json.dumps(missing, indent=1, ensure_ascii=False)}")
    if unknown := sorted(given - known):
        sys.exit(f"{catalogue.name} has texts of no node: {json.dumps(unknown, indent=1, ensure_ascii=False)}")
    return json.dumps(made, indent=2, ensure_ascii=False) + "\n"


def with_values(page: str, cls: type, title: str) -> str:
    """Return a help page with the values of its inputs filled in. Exit if it does not list just the inputs."""
    known = {name: values(kind, options) for name, (kind, options) in inputs(cls).items()}
    for name in cls.INPUT_TYPES().get("optional", {}):
        known[name] += ", optional"
    before, found, after = page.partition(HEAD)
    rows, _, rest = after.partition("\n\n")
    made, listed = [], []
    for row in rows.splitlines():
        names, meaning = re.findall(r"`(\w+)`", row.partition(" (")[0]), row.partition("): ")[2]
        listed += names
        unknown = set(names) - set(known)
        if unknown or len({known[name] for name in names}) != 1:
            sys.exit(f"{title}: {row}\nno such inputs, or inputs with different values in one row")
        made.append(f"- {', '.join(f'`{name}`' for name in names)} ({known[names[0]]}): {meaning}")
    if not found or sorted(listed) != sorted(known):
        sys.exit(f"{title}: it lists the inputs {listed}, the node {list(known)}")
    return before + HEAD + "\n".join(made) + "\n\n" + rest


def values(kind: str | list, options: dict) -> str:
    """Describe the values that an input takes, and its default."""
    text = _values(kind, options)
    return f"{text}, advanced" if options.get("advanced") else text


def _values(kind: str | list, options: dict) -> str:
    default = options.get("default")
    if isinstance(kind, list):
        names = [f"`{name}`" + (" (default)" if name == default != "default" else "") for name in kind]
        return ", ".join(names if len(kind) > 1 else [*names, "files"])  # lists of files are empty here
    if kind in ("INT", "FLOAT"):
        return f"{number(options['min'])} to {number(options['max'])}, default {number(default)}"
    if kind == "BOOLEAN":
        return f"on or off, default {'on' if default else 'off'}"
    if kind == "STRING":
        return f"text, default `{default}`" if default else "text"
    return kind


def number(value: float) -> str:
    return "2^64 - 1" if value == LARGEST else str(value) if isinstance(value, int) else f"{value:g}"


if __name__ == "__main__":
    for path, text in texts().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")
