"""Compare frames with the truth, or score a model on drawn people whose truth is known."""

import argparse
from pathlib import Path

from ..checks import printable
from ..choices import PROTOCOLS
from ..errors import InputError
from ..files import write_text
from .common import (
    add_model_arguments,
    file_path,
    load_model,
    positive_int,
    print_table,
    sampling_settings,
    seed,
    torch_device,
    write_report,
)
from .modes import check_options, is_given, mark_defaults

METHODS = ("truth", "weights", "protocol", "keypoints", "published_rows", "out", "device")
VOTE = ("vote", "truth", "seed")
VOTES = ("vote",)
PUPPETS = (
    "embedded", "model", "seed", "identities", "frames", "shrink", "sheet", "out", "preset", "steps", "scheduler",
    "guidance", "guidance_range", "reference_every", "pose_every", "pose_range", "compile", "device", "dtype",
)  # fmt: skip
WEIGHTS_HELP = ("weights_help", "weights")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("generated", nargs="?", metavar="GENERATED", type=file_path, help="folder, video or picture")
    parser.add_argument("true", nargs="?", metavar="TRUTH", type=file_path, help="the same, with the same frame names")
    parser.add_argument("--json", type=file_path, metavar="FILE", help="also write the figures to this file")
    methods = parser.add_argument_group(
        "any methods in one table, instead of GENERATED and TRUTH",
        "Videos are subfolders of frames or video files; videos and frames are matched by name.",
    )
    methods.add_argument("--truth", type=file_path, metavar="DIR", help="the true videos")
    methods.add_argument(
        "--method", type=_method, action="append", metavar="NAME=DIR", help="a method's videos; may be repeated"
    )
    methods.add_argument("--weights", type=file_path, metavar="DIR", help="files of networks that some metrics need")
    methods.add_argument("--weights-help", action="store_true", help="list those files and their sources, then stop")
    methods.add_argument(
        "--protocol", choices=PROTOCOLS, default=PROTOCOLS[0], help="correct (default), or with the published mistakes"
    )
    methods.add_argument(
        "--published-rows", action="store_true", help="also show the rows of the paper's Table 1, marked as its own"
    )
    methods.add_argument(
        "--keypoints", type=file_path, metavar="DIR", help="driving poses, a file a video (.json, .npz)"
    )
    methods.add_argument(
        "--out", type=file_path, metavar="DIR", help="write page, tables and plots; the same command resumes from there"
    )
    votes = parser.add_argument_group("a blind vote between methods, with --method twice or more")
    votes.add_argument(
        "--vote", type=file_path, metavar="DIR", help="write a page with pairs of clips to vote on, and its key"
    )
    votes.add_argument(
        "--votes", type=file_path, action="append", metavar="FILE",
        help="count a file that the page of --vote DIR saved; may be repeated",
    )  # fmt: skip
    puppets = parser.add_argument_group("a model on drawn people, instead of GENERATED and TRUTH")
    puppets.add_argument("--embedded", action="store_true", help="score the embedded model (or that of --model)")
    puppets.add_argument("--model", default="embedded", metavar="FILE|DIR", help="another model trained on puppets")
    puppets.add_argument("--seed", type=seed, default=0, help="of people, motions and noise (default: 0)")
    puppets.add_argument("--identities", type=positive_int, default=16, metavar="N", help="people (default: 16)")
    puppets.add_argument("--frames", type=positive_int, default=4, metavar="N", help="frames of each (default: 4)")
    puppets.add_argument(
        "--shrink",
        type=positive_int,
        default=1,
        metavar="N",
        help="reduce pictures N times first, to match a smaller model",
    )
    puppets.add_argument(
        "--sheet", type=file_path, metavar="PNG", help="write reference, pose, generated, truth of each person"
    )
    add_model_arguments(puppets)
    mark_defaults(parser, {*METHODS, *PUPPETS, *WEIGHTS_HELP, *VOTE})


def _method(text: str) -> tuple[str, Path]:
    name, found, path = text.partition("=")
    if not (name and found and path):
        raise argparse.ArgumentTypeError(f"{text} is not NAME=DIR")
    return name, file_path(path)


def run(options: argparse.Namespace) -> None:
    if is_given(options, "weights_help"):
        from ..evaluation.metric_weights import help_text

        print(help_text(check_options(options, "with --weights-help", WEIGHTS_HELP).weights))
        return
    if is_given(options, "vote"):
        if options.votes:
            _count_votes(check_options(options, "with --votes", VOTES))
        else:
            _write_vote(check_options(options, "with --vote", VOTE))
        return
    if options.votes:
        raise InputError("--votes are counted with the key of their page: give --vote DIR, too.")
    folders = options.generated is not None
    methods = is_given(options, "truth") or options.method is not None
    embedded = is_given(options, "embedded")
    if folders + methods + embedded > 1:
        raise InputError("GENERATED and TRUTH, --truth with --method, and --embedded exclude each other; give one.")
    if embedded:
        _score_puppets(check_options(options, "with --embedded", PUPPETS))
    elif methods:
        _compare_methods(check_options(options, "with --truth and --method", METHODS))
    elif folders and options.true is not None:
        _compare_folders(check_options(options, "with GENERATED and TRUTH", ()))
    else:
        raise InputError("Nothing to compare; give GENERATED and TRUTH, --truth with --method, or --embedded.")


def _write_vote(options: argparse.Namespace) -> None:
    from ..evaluation.votes import write_vote

    page = write_vote(_named(options.method or []), options.truth, options.vote, options.seed)
    print(f"{page}: send it to the voters; keep key.json, which says who made what")


def _count_votes(options: argparse.Namespace) -> None:
    from ..evaluation.votes import count_votes

    if options.method:
        raise InputError("--votes counts what a page saved, whose key knows the methods: leave out --method.")
    found, left_out = count_votes(options.vote, options.votes)
    rows = []
    for choice in found:
        total = choice.votes_one + choice.votes_two
        share = choice.share if total else None  # JSON has no NaN
        rows.append(vars(choice) | {"share": share, "interval": choice.interval, "p": choice.p_value})
        head = f"{printable(choice.one)} against {printable(choice.two)}: {choice.votes_one} of {total} votes"
        draws = f", {choice.draws} without a difference" if choice.draws else ""
        if choice.interval is None or choice.p_value is None:
            print(head + draws)
            continue
        low, high = choice.interval
        print(f"{head} ({choice.share:.0%}, {low:.0%} to {high:.0%}){draws}; chi-square p = {choice.p_value:.3g}")
    print("Intervals and test take votes as independent; many votes of one person are not.")
    names = [printable(str(file)) for file in left_out]
    if names:
        print(f"Left out, as the same voter saved as many votes or more in another file: {', '.join(names)}")
    write_report({"files": len(options.votes) - len(names), "left_out": names, "pairs": rows}, options.json)


def _named(methods: list[tuple[str, Path]]) -> dict[str, Path]:
    """Return methods by name. Raises InputError if two have one name."""
    if len(named := dict(methods)) < len(methods):
        raise InputError("Two methods have one name; give each its own.")
    return named


def _compare_folders(options: argparse.Namespace) -> None:
    from ..evaluation.scores import compare_folders

    report = compare_folders(options.generated, options.true)
    print_table(report)
    write_report(report, options.json)


def _compare_methods(options: argparse.Namespace) -> None:
    from ..evaluation import comparison_page
    from ..evaluation.method_comparison import compare_methods, show_progress
    from ..evaluation.metric_networks import load_metric_networks
    from ..evaluation.result_cache import ResultCache
    from ..evaluation.table import as_text

    if not (options.truth and options.method):
        raise InputError("--truth DIR and --method NAME=DIR belong together; give both.")
    methods = _named(options.method)
    if options.weights and not options.weights.is_dir():
        raise InputError(f"{options.weights} is no folder; give the folder of weights, see --weights-help.")
    if options.out:
        comparison_page.check_libraries()
    published = options.protocol == "published"
    networks = load_metric_networks(options.weights, torch_device(options.device), published)
    cache = ResultCache(options.out / "measured" if options.out else None)
    comparison = compare_methods(options.truth, methods, networks, cache, published, options.keypoints, show_progress)

    comparison.with_paper = options.published_rows

    counts = {"video": len(comparison.videos), "frame": comparison.frames, "clip": comparison.clips}
    counted = [f"{number} {what}{'s' if number > 1 else ''}" for what, number in counts.items() if number]
    print(f"{', '.join(counted)}, protocol: {options.protocol}\n")
    print(as_text(comparison.table(weights=bool(options.weights))))
    for line in comparison_page.notes(comparison, weights=bool(options.weights)):
        print(f"\n{line}")
    if options.out:
        comparison_page.write_page(comparison, options.out)
        print(f"\npage and tables in {options.out}")
    write_report(comparison_page.comparison_data(comparison), options.json)
    if comparison.problems:
        raise InputError("; ".join(f"{m}: {p}" if m else p for m, p in comparison.problems.items()))


def _score_puppets(options: argparse.Namespace) -> None:
    from ..evaluation.puppet_scores import evaluate_puppets
    from ..evaluation.table import as_csv, as_latex, as_text
    from ..media import contact_sheet, write_picture

    pipe = load_model(options.model, options.device, options.dtype)
    settings = sampling_settings(pipe, options)
    result = evaluate_puppets(pipe, options.seed, options.identities, options.frames, settings, options.shrink)
    if options.sheet:
        captions = ("reference", "pose", "generated", "truth")
        write_picture(options.sheet, contact_sheet(result.rows(), captions, panel=192))
        print(f"pictures in {options.sheet}")
    shown = ("seed", "identities", "frames", "steps", "guidance", "size", "seconds")
    print_table({"model": options.model} | {name: result.scores[name] for name in shown})
    print(f"\n{as_text(result.table())}")
    if options.out:
        write_text(options.out / "table.csv", as_csv(result.table()))
        write_text(options.out / "table.tex", as_latex(result.table()))
        print(f"tables in {options.out}")
    write_report({"model": options.model, **result.scores}, options.json)
