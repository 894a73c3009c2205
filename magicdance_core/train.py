"""The bundled training script: `python -m magicdance_core.train CONFIG [--out DIR]`."""

import argparse
import gc
import sys
from pathlib import Path

from .entry import Parser, execute, out_of_memory
from .errors import InputError
from .files import as_path


def main(arguments: list[str] | None = None) -> int:
    """Run the script; see `entry.execute` for what it returns."""
    parser = Parser(prog="python -m magicdance_core.train", description=__doc__)
    parser.add_argument(
        "config", help="a YAML file, or the name of one that comes along (magicdance_core/training/configs)"
    )
    parser.add_argument("--out", help="folder of the run (default: runs/<name of the configuration>)")
    parser.add_argument("--device", choices=("cpu",), help="cpu: leave GPUs alone (default: what Accelerate finds)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="another value, such as data.folder=my_videos"
    )
    parser.add_argument("--plan", action="store_true", help="print memory, disk and hours, and start nothing")
    parser.add_argument("--processes", type=int, default=1, metavar="N", help="of the plan (default: 1)")
    parser.add_argument("--tflops", type=float, default=60.0, help="of the plan, a process's real speed (default: 60)")
    parser.set_defaults(run=_run)
    return execute(parser, arguments, name="train")


def _run(options: argparse.Namespace) -> None:
    from .training.config import load_config

    config = load_config(options.config, options.set)
    out = Path("runs") / Path(options.config).stem if options.out is None else as_path(options.out)
    if options.plan:
        if options.processes < 1 or not options.tflops > 0:
            raise InputError("--processes and --tflops take positive numbers.")
        from .training.plan import describe

        print(describe(config, options.processes, options.tflops))
        return

    from .training.engine import train

    gc.freeze()  # the libraries stay: collections between stages need not go through them
    try:
        train(config, out, options.device)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("Interrupted; the same command resumes from the last saved step.") from None
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        raise InputError(
            "The memory is not enough: lower per_pass (the batch stays), set checkpointing: true, optimizer: "
            "adamw8bit, precision and frozen: bfloat16 or ema_on_cpu: true; --plan tells what each takes."
        ) from error


if __name__ == "__main__":
    sys.exit(main())
