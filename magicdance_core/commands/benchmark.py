"""Count the arithmetic of a frame and step at full size, beside the published code's; or memory against length."""

import argparse

from ..errors import InputError
from .common import count, location, print_table, write_report


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", type=location, metavar="FILE", help="write the figures to this file, too")
    parser.add_argument(
        "--lengths", type=count, nargs="+", metavar="N", help="instead: memory of small videos of so many frames"
    )
    parser.add_argument("--plot", type=location, metavar="SVG", help="of --lengths: memory against length")


def run(options: argparse.Namespace) -> None:
    if options.lengths:
        _measure_lengths(options)
        return
    if options.plot:
        raise InputError("--plot shows memory against length; give it together with --lengths.")
    from ..benchmark import benchmark

    report = benchmark()
    print_table(report)
    write_report(report, options.json)


def _measure_lengths(options: argparse.Namespace) -> None:
    from ..evaluation import plots
    from ..evaluation.page import write_text
    from ..long_video import benchmark_lengths, plot_lengths

    if options.plot:
        plots.library()  # a missing one is told before, not after all videos
    rows = benchmark_lengths(options.lengths)
    for row in rows:
        print_table(row)
    write_report({str(row["frames"]): row for row in rows}, options.json)
    if options.plot:
        write_text(options.plot, plot_lengths(rows))
        print(f"plot in {options.plot}")
