"""Compare frames with the truth, or score a model on drawn people whose truth is known."""

import argparse
from pathlib import Path

from ..choices import PROTOCOLS
from ..errors import InputError
from .common import (
    add_model_arguments,
    count,
    load_model,
    location,
    print_table,
    sampling_settings,
    seed,
    torch_device,
    write_report,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("generated", nargs="?", metavar="GENERATED", type=location, help="folder, video or picture")
    parser.add_argument("true", nargs="?", metavar="TRUTH", type=location, help="the same, with the same frame names")
    parser.add_argument("--json", type=location, metavar="FILE", help="write the figures to this file, too")
    methods = parser.add_argument_group(
        "any methods in one table, instead of GENERATED and TRUTH",
        "Videos are subfolders of frames or video files; videos and frames are matched by name.",
    )
    methods.add_argument("--truth", type=location, metavar="DIR", help="the true videos")
    methods.add_argument(
        "--method", type=_method, action="append", default=[], metavar="NAME=DIR", help="a method's; any number of them"
    )
    methods.add_argument("--weights", type=location, metavar="DIR", help="files of networks that some metrics need")
    methods.add_argument("--weights-help", action="store_true", help="which files, where they are had; then stop")
    methods.add_argument(
        "--protocol", choices=PROTOCOLS, default=PROTOCOLS[0], help="correct (default), or with the published slips"
    )
    methods.add_argument(
        "--keypoints", type=location, metavar="DIR", help="driving poses, a file a video (.json, .npz)"
    )
    methods.add_argument(
        "--out", type=location, metavar="DIR", help="page, tables, plots; and what a next run goes on from"
    )
    puppets = parser.add_argument_group("on drawn people, instead of GENERATED and TRUTH")
    puppets.add_argument("--embedded", action="store_true", help="score the embedded model (or that of --model)")
    puppets.add_argument("--model", default="embedded", metavar="FILE|DIR", help="another model that knows puppets")
    puppets.add_argument("--seed", type=seed, default=0, help="of people, motions and noise (default: 0)")
    puppets.add_argument("--identities", type=count, default=16, metavar="N", help="people (default: 16)")
    puppets.add_argument("--frames", type=count, default=4, metavar="N", help="frames of each (default: 4)")
    puppets.add_argument(
        "--shrink", type=count, default=1, metavar="N", help="score N times smaller pictures, as a smaller model has"
    )
    puppets.add_argument(
        "--sheet", type=location, metavar="PNG", help="write reference, pose, generated, truth of each"
    )
    add_model_arguments(puppets)


def _method(text: str) -> tuple[str, Path]:
    name, found, place = text.partition("=")
    if not (name and found and place):
        raise argparse.ArgumentTypeError(f"{text} is not NAME=DIR")
    return name, location(place)


def run(options: argparse.Namespace) -> None:
    if options.weights_help:
        from ..evaluation.weights import help_text

        print(help_text(options.weights))
        return
    wanted = [bool(options.generated), bool(options.truth or options.method), options.embedded]
    if sum(wanted) > 1:
        raise InputError("GENERATED and TRUTH, --truth with --method, and --embedded exclude each other; give one.")
    if options.embedded:
        _score_puppets(options)
    elif options.truth and options.method:
        _compare_methods(options)
    elif options.true:
        from ..evaluation.comparison import compare

        report = compare(options.generated, options.true)
        print_table(report)
        write_report(report, options.json)
    else:
        raise InputError("Nothing to compare; give GENERATED and TRUTH, --truth with --method, or --embedded.")


def _compare_methods(options: argparse.Namespace) -> None:
    from ..evaluation import page
    from ..evaluation.array_cache import ArrayCache
    from ..evaluation.study import evaluate, progress
    from ..evaluation.table import as_text
    from ..evaluation.tools import load_tools

    methods = dict(options.method)
    if len(methods) < len(options.method):
        raise InputError("Two methods have one name; give each its own.")
    if options.weights and not options.weights.is_dir():
        raise InputError(f"{options.weights} is no folder; give the folder of weights, see --weights-help.")
    if options.out:
        page.check_libraries()
    published = options.protocol == "published"
    tools = load_tools(options.weights, torch_device(options.device), published)
    kept = ArrayCache(options.out / "measured" if options.out else None)
    study = evaluate(options.truth, methods, tools, kept, published, options.keypoints, progress)

    counts = {"video": len(study.videos), "frame": study.frames, "clip": study.clips}
    counted = [f"{number} {what}{'s' if number > 1 else ''}" for what, number in counts.items() if number]
    print(f"{', '.join(counted)}, protocol: {options.protocol}\n")
    print(as_text(study.table(weights=bool(options.weights))))
    for line in page.remarks(study, weights=bool(options.weights)):
        print(f"\n{line}")
    if options.out:
        page.write(study, options.out)
        print(f"\npage and tables in {options.out}")
    write_report(page.report(study), options.json)
    if study.problems:
        raise InputError("; ".join(f"{m}: {p}" if m else p for m, p in study.problems.items()))


def _score_puppets(options: argparse.Namespace) -> None:
    from ..evaluation.page import write_text
    from ..evaluation.puppets import evaluate_puppets
    from ..evaluation.table import as_csv, as_latex, as_text
    from ..media import contact_sheet, write_picture

    pipe = load_model(options.model, options.device, options.dtype)
    settings = sampling_settings(pipe, options)
    result = evaluate_puppets(pipe, options.seed, options.identities, options.frames, shrink=options.shrink, **settings)
    if options.sheet:
        captions = ("reference", "pose", "generated", "truth")
        write_picture(options.sheet, contact_sheet(result.rows(), captions, panel=192))
        print(f"pictures in {options.sheet}")
    told = ("seed", "identities", "frames", "steps", "guidance", "size", "seconds")
    print_table({"model": options.model} | {name: result.scores[name] for name in told})
    print(f"\n{as_text(result.table())}")
    if options.out:
        write_text(options.out / "table.csv", as_csv(result.table()))
        write_text(options.out / "table.tex", as_latex(result.table()))
        print(f"tables in {options.out}")
    write_report({"model": options.model, **result.scores}, options.json)
