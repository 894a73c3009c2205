"""The smoke configuration, run once for all tests and workers."""

import os

import pytest
from filelock import FileLock

from magicdance_core.training.engine import train


@pytest.fixture(scope="session")
def finished(smoke, tmp_path_factory):
    """Folder and model of a whole run; the workers of xdist share the folder, and no test may change it."""
    base = tmp_path_factory.getbasetemp()
    out = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "smoke"
    with FileLock(f"{out}.lock"):
        return out, train(smoke, out, "cpu")
