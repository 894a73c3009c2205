"""Train a model: `python -m magicdance_core.train CONFIG [--out DIR]`."""

import argparse
import gc
import sys
from pathlib import Path

from .entry import Parser, execute, out_of_memory
from .errors import InputError
from .files import as_path


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit status, see `entry.execute`."""
    parser = Parser(prog="python -m magicdance_core.train", description=__doc__)
    parser.add_argument("config", help="a YAML file, or the name of an included one (magicdance_core/training/configs)")
    parser.add_argument("--out", help="folder of the run (default: runs/<name of the configuration>)")
    parser.add_argument("--device", choices=("cpu",), help="cpu: use no GPU (default: Accelerate chooses)")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="override a value, such as data.folder=my_videos",
    )
    parser.add_argument(
        "--plan", action="store_true", help="print the memory, disk space and hours that the run takes, and exit"
    )
    parser.add_argument(
        "--processes", type=int, default=1, metavar="N", help="number of processes in the plan (default: 1)"
    )
    parser.add_argument("--tflops", type=float, default=60.0, help="speed of a process in the plan (default: 60)")
    parser.set_defaults(run=_run)
    return execute(parser, arguments, name="train")


def _run(options: argparse.Namespace) -> None:
    from .training.config import load_config

    config = load_config(options.config, options.set)
    out = Path("runs") / Path(options.config).stem if options.out is None else as_path(options.out)
    if options.plan:
        if options.processes < 1 or not options.tflops > 0:
            raise InputError(f"--processes is {options.processes}, --tflops {options.tflops:g}: give positive numbers.")
        from .training.plan import describe

        print(describe(config, options.processes, options.tflops))
        return

    from .launcher import rank_and_size

    rank_and_size()  # refused now; Accelerate would wait for processes that do not exist, or fail in many lines
    from .training.engine import train

    gc.freeze()  # libraries stay in memory, so garbage collection need not visit their objects
    try:
        train(config, out, options.device)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("Interrupted; the same command resumes from the last saved state.") from None
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        raise InputError(
            "The memory is not enough: lower per_pass (the batch stays the same), set checkpointing: true, optimizer: "
            "adamw8bit, precision and frozen: bfloat16, or ema_on_cpu: true; --plan shows what each takes."
        ) from error


if __name__ == "__main__":
    sys.exit(main())
