"""The commands: `python -m magicdance_core COMMAND ...`."""

import importlib
import sys

from .entry import Parser, execute

COMMANDS = {
    "demo": "the embedded model dances",
    "animate": "a person in a picture performs a motion",
    "convert": "make a safetensors file or a folder of a checkpoint",
    "evaluate": "compare frames with the truth, or score the embedded model",
    "extract": "keypoints and pose maps of a person in a video",
    "dataset": "videos to training data",
    "shards": "a data set as Parquet files, which training streams",
    "benchmark": "count the arithmetic of a frame and step",
}
PROGRAM = "python -m magicdance_core"


def main(arguments: list[str] | None = None) -> int:
    """Run a command; see `entry.execute` for what it returns."""
    return execute(_parser(), arguments)


def _parser() -> Parser:
    parser = Parser(prog=PROGRAM, description="MagicDance: a person in a picture performs a motion.")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, summary in COMMANDS.items():
        command = importlib.import_module(f".commands.{name}", __package__)
        subparser = commands.add_parser(name, help=summary, description=command.__doc__)
        command.add_arguments(subparser)
        subparser.set_defaults(run=command.run)
    return parser


if __name__ == "__main__":
    sys.exit(main())
