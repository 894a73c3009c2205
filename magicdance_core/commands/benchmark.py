"""Count the arithmetic of a frame and step at full size, beside the published code's."""

import argparse

from .common import location, print_table, write_report


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", type=location, metavar="FILE", help="write the figures to this file, too")


def run(options: argparse.Namespace) -> None:
    from ..benchmark import benchmark

    report = benchmark()
    print_table(report)
    write_report(report, options.json)
