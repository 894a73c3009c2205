"""The command line: `python -m magicdance_core COMMAND ...`."""

import importlib
import sys

from .entry import Parser, execute

COMMANDS = {
    "demo": "animate a drawn person with the embedded model",
    "animate": "animate the person of a picture with a sequence of poses",
    "convert": "convert a checkpoint to a safetensors file or a diffusers folder",
    "evaluate": "compare frames with the ground truth, or score the embedded model",
    "extract": "extract keypoints and pose maps from a video",
    "dataset": "prepare training data from videos",
    "shards": "write a data set as Parquet files for streaming",
    "benchmark": "count the arithmetic of sampling, or measure this machine",
}
PROGRAM = "python -m magicdance_core"


def main(arguments: list[str] | None = None) -> int:
    """Run a command; see `entry.execute` for what it returns."""
    return execute(_parser(), arguments)


def _parser() -> Parser:
    parser = Parser(prog=PROGRAM, description="MagicDance: animate the person of a picture with a sequence of poses.")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, summary in COMMANDS.items():
        command = importlib.import_module(f".commands.{name}", __package__)
        subparser = commands.add_parser(name, help=summary, description=command.__doc__)
        command.add_arguments(subparser)
        subparser.set_defaults(run=command.run)
    return parser


if __name__ == "__main__":
    sys.exit(main())
