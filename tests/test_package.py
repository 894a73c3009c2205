"""The package as pip makes it: what the wheel holds, that its commands start, that the lists of dependencies agree."""

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10; pytest brings it there
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", folder, ROOT]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return next(folder.glob("*.whl"))


def test_the_wheel_holds_the_core_and_every_data_file_of_it(wheel):
    tracked = subprocess.run(["git", "ls-files", "magicdance_core"], cwd=ROOT, capture_output=True, text=True).stdout
    files = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert {name.split("/")[0] for name in files} == {"magicdance_core"}
    assert files >= set(tracked.split())
    assert {name.rpartition(".")[2] for name in files} >= {"py", "yaml", "safetensors", "json", "npz"}


def test_its_commands_start_anywhere(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    for name, place in PROJECT["scripts"].items():
        module, function = place.split(":")
        assert f"{name} = {place}" in "".join(path.read_text() for path in tmp_path.glob("site/*/entry_points.txt"))
        start = f"import sys; sys.path.insert(0, 'site'); import {module} as m; sys.exit(m.{function}(['--help']))"
        done = subprocess.run([sys.executable, "-c", start], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0 and "usage:" in done.stdout, done.stderr


def test_requirements_are_the_packages_dependencies_without_torch():
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    required = [line for line in lines if line and not line.startswith("#")]
    assert required == [name for name in PROJECT["dependencies"] if not re.match(r"torch\b", name)]
    assert all(re.fullmatch(r"[a-z-]+>=[0-9.]+", name) for name in PROJECT["dependencies"])
