"""The commands: `python -m magicdance_core COMMAND ...`."""

from __future__ import annotations

import argparse
import importlib
import logging
import sys

from .errors import InputError

COMMANDS = {
    "demo": "the embedded model dances",
    "animate": "a person in a picture performs a motion",
    "convert": "make a safetensors file or a folder of a checkpoint",
    "evaluate": "compare frames with the truth, or score the embedded model",
    "extract": "keypoints and pose maps of a person in a video",
    "benchmark": "count the arithmetic of a frame and step",
}
PROGRAM = "python -m magicdance_core"


class Parser(argparse.ArgumentParser):
    """Reports a wrong command line like any other bad input."""

    def error(self, message: str):
        raise InputError(f"{message}; see {self.prog} --help.")


def main(arguments: list[str] | None = None) -> int:
    """Run a command. Returns 0 on success, 2 after one line on stderr for bad input, 130 when interrupted."""
    logging.basicConfig(format="%(message)s")
    try:
        options = _parser().parse_args(arguments)
        options.run(options)
    except InputError as error:
        return _fail(str(error), 2)
    except KeyboardInterrupt as interrupt:
        return _fail(str(interrupt) or "Interrupted.", 130)
    except RuntimeError as error:
        if type(error).__name__ != "OutOfMemoryError":
            raise
        return _fail("The device is out of memory; lower --frames-per-batch or --size.", 2)
    return 0


def _parser() -> Parser:
    parser = Parser(prog=PROGRAM, description="MagicDance: a person in a picture performs a motion.")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, summary in COMMANDS.items():
        command = importlib.import_module(f".commands.{name}", __package__)
        subparser = commands.add_parser(name, help=summary, description=command.__doc__)
        command.add_arguments(subparser)
        subparser.set_defaults(run=command.run)
    return parser


def _fail(message: str, status: int) -> int:
    print("magicdance:", " ".join(message.split()), file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
