"""The command line that all benchmarks share."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from magicdance_core.commands.common import file_path, positive_int, seed
from magicdance_core.entry import Parser, execute


def benchmark_parser(name: str, description: str | None, run: Callable[[argparse.Namespace], None]) -> Parser:
    """Return the parser of `python -m benchmarks.NAME` with --seed and --json; `run` gets the parsed options."""
    parser = Parser(
        prog=f"python -m benchmarks.{name}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seed", type=seed, default=0, metavar="N", help="seed of all that is random (default: 0)")
    parser.add_argument("--json", type=file_path, metavar="FILE", help="also write the figures to this file")
    parser.set_defaults(run=run)
    return parser


def add_puppet_arguments(parser: Parser, people: int = 4, frames: int = 24) -> None:
    """Add --model, --identities and --frames of a benchmark on puppets, with defaults for the last two."""
    parser.add_argument("--model", default="embedded", metavar="FILE|DIR", help="another model trained on puppets")
    parser.add_argument(
        "--identities", type=positive_int, default=people, metavar="N", help=f"people (default: {people})"
    )
    parser.add_argument("--frames", type=positive_int, default=frames, metavar="N", help=f"of each (default: {frames})")


def run_benchmark(parser: Parser, arguments: list[str] | None) -> int:
    """Parse the arguments (those of the process by default), run, and return the exit status of `entry.execute`."""
    return execute(parser, arguments, name=parser.prog.rpartition(".")[2])
