"""The smoke configuration, run once for all tests and workers."""

import dataclasses
import os

import pytest
from filelock import FileLock

from magicdance_core.training.config import load_config
from magicdance_core.training.engine import train


@pytest.fixture(scope="session")
def smoke():
    return load_config("smoke")


@pytest.fixture(scope="session")
def finished(smoke, tmp_path_factory):
    """Folder and model of a whole run; the workers of xdist share the folder, and no test may change it."""
    base = tmp_path_factory.getbasetemp()
    out = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "smoke"
    with FileLock(f"{out}.lock"):
        return out, train(smoke, out, "cpu")


@pytest.fixture(scope="session")
def one_stage(smoke):
    """A configuration with the given values for one stage of the smoke run: `one_stage("pose", steps=2)`."""

    def make(name="pose", data=None, run=None, **changes):
        (stage,) = (stage for stage in smoke.stages if stage.name == name)
        changed = dataclasses.replace(stage, **{"from_unet": [], **changes})
        data = dataclasses.replace(smoke.data, **(data or {}))
        return dataclasses.replace(smoke, stages=[changed], data=data, **(run or {}))

    return make
