"""Count the arithmetic of a frame and step at full size, beside the published code's; or memory against length."""

import argparse

from .common import count, location, print_table, write_report


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", type=location, metavar="FILE", help="write the figures to this file, too")
    parser.add_argument(
        "--lengths", type=count, nargs="+", metavar="N", help="instead: memory of small videos of so many frames"
    )


def run(options: argparse.Namespace) -> None:
    if options.lengths:
        from ..long_video import benchmark_lengths

        rows = benchmark_lengths(options.lengths)
        for row in rows:
            print_table(row)
        write_report({str(row["frames"]): row for row in rows}, options.json)
        return
    from ..benchmark import benchmark

    report = benchmark()
    print_table(report)
    write_report(report, options.json)
