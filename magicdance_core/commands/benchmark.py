"""Count the arithmetic of a frame and step at full size, or measure the speed of this machine."""

import argparse

from ..choices import DTYPES
from .common import file_path, positive_int, print_table, step_count, torch_device, torch_dtype, write_report
from .modes import check_options, is_given, mark_defaults

SPEED = ("device", "dtype", "frames", "steps", "small", "compile")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", type=file_path, metavar="FILE", help="also write the figures to this file")
    speed = parser.add_argument_group("speed of this machine, with random weights in the published shapes")
    speed.add_argument("--device", help="cpu, cuda, cuda:1, ...: measure its speed instead of counting")
    speed.add_argument("--dtype", choices=DTYPES, help="default: float16 on a GPU, float32 on a CPU")
    speed.add_argument(
        "--frames", type=positive_int, nargs="+", default=[16], metavar="N", help="of each video (default: 16)"
    )
    speed.add_argument("--steps", type=step_count, default=4, help="of each video (default: 4)")
    speed.add_argument("--small", action="store_true", help="small networks and pictures, for a CPU")
    speed.add_argument("--compile", action="store_true", help="with compiled blocks")
    mark_defaults(parser, SPEED)


def run(options: argparse.Namespace) -> None:
    if is_given(options, "device"):
        _measure_speed(check_options(options, "with --device", SPEED))
        return
    options = check_options(options, "without --device", ())
    from ..evaluation.arithmetic import count_arithmetic

    report = count_arithmetic()
    print_table(report)
    write_report(report, options.json)


def _measure_speed(options: argparse.Namespace) -> None:
    from ..evaluation.machine_speed import measure_speed
    from ..models.compilation import check_compiler

    device = torch_device(options.device)
    if options.compile:
        check_compiler(device)
    dtype = torch_dtype(options.dtype or ("float16" if device.type == "cuda" else "float32"))
    size = "small" if options.small else "full"
    assert dtype is not None
    report = measure_speed(device, dtype, options.frames, options.steps, size, options.compile)
    print_table({name: value for name, value in report.items() if name != "runs"})
    for row in report["runs"]:
        print_table({f"{row['frames']} frames": {name: value for name, value in row.items() if name != "frames"}})
    write_report(report, options.json)
