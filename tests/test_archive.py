"""What the Comfy registry publishes: nothing that its scan flags, and nothing that a file there needs is left out."""

import ast
import subprocess
from pathlib import Path

import pathspec
import pytest

ROOT = Path(__file__).parents[1]
SUFFIXES = {"", ".html", ".jpg", ".json", ".md", ".npz", ".py", ".safetensors", ".toml", ".txt", ".yaml", ".js", ".csv"}
MODULES = {
    "aiohttp", "ctypes", "ftplib", "http", "httpx", "huggingface_hub", "marshal", "paramiko", "pip", "pty", "requests",
    "shelve", "smtplib", "socket", "subprocess", "telnetlib", "urllib", "webbrowser",
}  # fmt: skip
CALLS = {
    "compile",
    "eval",
    "exec",
    "__import__",
    "os.popen",
    "os.startfile",
    "os.system",
    "pickle.load",
    "pickle.loads",
}


def archive() -> list[Path]:
    """The tracked files that .comfyignore leaves in."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    left_out = pathspec.PathSpec.from_lines("gitwildmatch", (ROOT / ".comfyignore").read_text().splitlines())
    return [Path(name) for name in listed.stdout.splitlines() if not left_out.match_file(name)]


def flagged(tree: ast.AST) -> list[str]:
    """What a scan for dangerous code would stop at."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [name.name for name in node.names if name.name.split(".")[0] in MODULES]
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module.split(".")[0] in MODULES:
            found.append(node.module)
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            options = {option.arg: ast.unparse(option.value) for option in node.keywords}
            if name in CALLS or name == "torch.load" and options.get("weights_only") != "True":
                found.append(name)
            if options.get("allow_pickle", "False") != "False" or options.get("trust_remote_code", "False") != "False":
                found.append(name)
        elif isinstance(node, ast.ExceptHandler) and len(node.body) == 1 and isinstance(node.body[0], ast.Pass):
            if node.type is None or ast.unparse(node.type) in ("Exception", "BaseException"):
                found.append("except: pass")
    return found


def test_nothing_is_flagged():
    files = [path for path in archive() if path.suffix == ".py"]
    assert len(files) > 100
    assert {str(path): found for path in files if (found := flagged(ast.parse((ROOT / path).read_text("utf-8"))))} == {}


def test_the_scan_sees():
    code = "import socket\nfrom urllib.request import urlopen\neval('1')\ntorch.load(f)\n"
    code += "try:\n  x\nexcept Exception:\n  pass"
    assert len(flagged(ast.parse(code))) == 5


def test_kinds_and_places_of_files():
    files = archive()
    assert {path.suffix for path in files} <= SUFFIXES
    places = {path.parts[0] for path in files if len(path.parts) > 1}
    assert places == {"locales", "magicdance_core", "nodes", "subgraphs", "web", "workflows"}
    modules = {path.relative_to(ROOT) for path in (ROOT / "magicdance_core").rglob("*.py")}
    assert modules - set(files) == set()  # one that is left out is missed by the commands
