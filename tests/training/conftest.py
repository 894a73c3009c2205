"""The smoke configuration, run once for all tests and workers, and runs in processes of their own."""

import dataclasses
import multiprocessing
import os
import socket
import sys
import traceback

import pytest
import torch
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


def in_processes(job, *arguments, number=1, **options):
    """Run `job(*arguments, **options)` in forked processes that form a gloo group; their exit codes."""
    if sys.platform != "linux":
        pytest.skip("forks, which only Linux does safely")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("fork")
    processes = [
        context.Process(target=_enter, args=(job, arguments, options, rank, number, port)) for rank in range(number)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    return [process.exitcode for process in processes]


def _enter(job, arguments, options, rank, number, port):
    from accelerate.state import AcceleratorState, GradientState, PartialState

    for state in (AcceleratorState, GradientState, PartialState):
        state._reset_state()  # the parent's runs left theirs
    if number > 1:
        os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(number)}
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "ACCELERATE_USE_CPU": "true"}
    torch.set_num_threads(1)
    code = 1
    try:
        job(*arguments, **options)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


@pytest.fixture(scope="session", name="in_processes")
def _in_processes():
    return in_processes
