"""What is imported, and when: starting a command must not take longer than its libraries do."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = {"torch", "diffusers", "transformers", "cv2", "av", "scipy", "numpy", "PIL", "pydantic"}


def imported_after(*codes: str) -> list[set[str]]:
    """Return the top-level modules that a new process has imported after running each of these pieces of code."""
    report = "import sys; print('imported', *{name.split('.')[0] for name in sys.modules}, file=sys.stderr)"
    code = "\n".join(f"{code}\n{report}" for code in codes)
    process = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    return [set(line.split()) for line in process.stderr.splitlines() if line.startswith("imported ")]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["animate", "--help"],
        ["animate", "--model", "nothere", "--reference", "a.png", "--poses", "b", "--out", "c"],
        ["animate", "--model", "embedded", "--reference", "nothere.png", "--poses", "b", "--out", "c"],
    ],
)
def test_help_and_wrong_paths_are_told_before_anything_heavy_is_imported(arguments):
    code = (
        "from magicdance_core.__main__ import main\n"
        f"try: main({arguments!r})\nexcept SystemExit: pass"
    )  # fmt: skip
    (modules,) = imported_after(code)
    assert "magicdance_core" in modules and modules & HEAVY == set()


def test_the_pipeline_imports_hardly_more_than_torch_and_diffusers():
    libraries = (
        "import torch\nfrom diffusers import AutoencoderKL, ControlNetModel, DDIMScheduler, MotionAdapter, "
        "UNet2DConditionModel\nfrom transformers import CLIPTextModel"
    )
    before, after = imported_after(libraries, "import magicdance_core.pipeline")
    more = after - before - set(sys.stdlib_module_names)
    assert more <= {"magicdance_core", "einops", "pydantic", "pydantic_core", "annotated_types", "typing_inspection"}, (
        sorted(more)
    )
