"""Steps a second and peak memory of a few training steps, with each memory or speed option and without.

    python -m benchmarks.savings CONFIG [--steps 10]

Each variant runs in a separate process, so that peaks are independent.
"""

import argparse
import dataclasses
import multiprocessing
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from unittest import mock

from magicdance_core.commands.common import positive_int, write_report
from magicdance_core.errors import InputError
from magicdance_core.training.config import TrainingConfig, load_config

from .command import benchmark_parser, run_benchmark

CHANGES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "as it is": ({}, {}),
    "checkpointing": ({"checkpointing": True}, {}),
    "no checkpointing": ({"checkpointing": False}, {}),
    "bfloat16": ({}, {"precision": "bfloat16"}),
    "bfloat16, frozen networks too": ({}, {"precision": "bfloat16", "frozen": "bfloat16"}),
    "no averages": ({"ema": 0.0}, {}),
    "averages on the CPU": ({"ema_on_cpu": True}, {}),
    "AdamW": ({"optimizer": "adamw"}, {}),
    "AdamW in 8 bits": ({"optimizer": "adamw8bit"}, {}),
    "one sample at a time": ({"per_pass": 1}, {}),
    "rank 8": ({"rank": 8}, {}),
}
"""Name of a variant -> what it changes in the stage, and in the run."""


def changed(config: TrainingConfig, stage: str | None, steps: int, change: str) -> TrainingConfig | None:
    """Return the configuration of a variant with one stage of `steps` steps, None if the stage cannot have it.

    Raises InputError if there is no such stage.
    """
    stages = [s for s in config.stages if s.name == stage] if stage else config.stages[-1:]
    if not stages:
        raise InputError(
            f"There is no stage {stage}: the configuration has {', '.join(s.name for s in config.stages)}."
        )
    stage_changes, run_changes = CHANGES[change]
    quiet: dict[str, Any] = {
        "steps": steps,
        "save_every": 10**9,
        "validate_every": 0,
        "sample_every": 0,
        "from_unet": [],
    }
    try:
        changed_stage = dataclasses.replace(stages[0], **quiet, **stage_changes)
        return dataclasses.replace(config, stages=[changed_stage], keep=1, **run_changes)
    except InputError:
        return None


def measure(config: TrainingConfig, cache: Path) -> dict[str, float]:
    """Train, and return the rate after the first step and the peak of memory.

    steps_per_second; peak_gib: of the GPU if there is one, else by how much the process grew (on Linux and macOS).
    """
    import resource

    import psutil
    import torch

    from magicdance_core.training.engine import train
    from magicdance_core.training.journal import Journal

    before = psutil.Process().memory_info().rss
    ends: list[float] = []
    record = Journal.record

    def record_and_time(*arguments) -> None:
        ends.append(time.monotonic())
        record(*arguments)

    with tempfile.TemporaryDirectory() as out, mock.patch.object(Journal, "record", record_and_time):
        train(config, Path(out), None, cache)
    if torch.cuda.is_available():
        peak = torch.cuda.max_memory_allocated()
    else:
        unit = 1 if sys.platform == "darwin" else 1024
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit - before
    return {"steps_per_second": (len(ends) - 1) / (ends[-1] - ends[0]), "peak_gib": peak / 2**30}


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark and return the exit status."""
    parser = benchmark_parser("savings", __doc__, _run)
    parser.add_argument("config", help="a YAML file, or the name of one of magicdance_core/training/configs")
    parser.add_argument(
        "--steps", type=positive_int, default=10, metavar="N", help="timed steps of each run (default: 10)"
    )
    parser.add_argument("--stage", metavar="NAME", help="which stage (default: the last)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="another value")
    return run_benchmark(parser, arguments)


def _run(options: argparse.Namespace) -> None:
    config = load_config(options.config, [*options.set, f"seed={options.seed}"])
    context = multiprocessing.get_context("spawn")
    found: dict[str, dict[str, float] | str] = {}
    with tempfile.TemporaryDirectory() as cache:
        for name in CHANGES:
            variant = changed(config, options.stage, options.steps + 1, name)
            if variant is None:
                continue
            receiver, sender = context.Pipe(duplex=False)
            process = context.Process(target=_send, args=(sender, variant, Path(cache)))
            process.start()
            sender.close()
            try:
                found[name] = receiver.recv()
            except EOFError:
                found[name] = "the process died, perhaps for lack of memory"
            process.join()
            print(f"{name:<30} {_described(found[name])}", flush=True)
    write_report(found, options.json)


def _described(found: dict[str, float] | str) -> str:
    if isinstance(found, str):
        return found
    return f"{found['steps_per_second']:8.3g} steps/s {found['peak_gib']:8.2f} GiB"


def _send(sender: Connection, config: TrainingConfig, cache: Path) -> None:
    try:
        sender.send(measure(config, cache))
    except InputError as error:
        sender.send(str(error))
    except (RuntimeError, MemoryError) as error:
        sender.send(f"{type(error).__name__}: {str(error).splitlines()[0]}")


if __name__ == "__main__":
    sys.exit(main())
