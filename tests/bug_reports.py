"""Where files from bug reports lie; tests that need them say so when they are skipped."""

import os
from pathlib import Path

import pytest

CASES = Path(os.environ.get("MAGICDANCE_CASES", Path(__file__).parents[2] / "shared" / "cases"))
has_cases = pytest.mark.skipif(
    not CASES.is_dir(), reason=f"{CASES} is not there: set MAGICDANCE_CASES to the folder of files from bug reports"
)
