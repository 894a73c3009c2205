"""Compare frames with the truth, or score a model on drawn people whose truth is known."""

import argparse
from pathlib import Path

from ..errors import InputError
from .common import add_model_arguments, count, load_model, print_table, seed, write_report


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("generated", nargs="?", metavar="GENERATED", type=Path, help="folder, video or picture")
    parser.add_argument("truth", nargs="?", metavar="TRUTH", type=Path, help="the same, with the same frame names")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to this file, too")
    puppets = parser.add_argument_group("on drawn people, instead of GENERATED and TRUTH")
    puppets.add_argument("--embedded", action="store_true", help="score the embedded model (or that of --model)")
    puppets.add_argument("--model", default="embedded", metavar="FILE|DIR", help="another model that knows puppets")
    puppets.add_argument("--seed", type=seed, default=0, help="of people, motions and noise (default: 0)")
    puppets.add_argument("--identities", type=count, default=16, metavar="N", help="people (default: 16)")
    puppets.add_argument("--frames", type=count, default=4, metavar="N", help="frames of each (default: 4)")
    puppets.add_argument("--sheet", type=Path, metavar="PNG", help="write reference, pose, generated, truth of each")
    add_model_arguments(puppets)


def run(options: argparse.Namespace) -> None:
    if options.embedded:
        if options.generated:
            raise InputError("GENERATED and TRUTH do not go with --embedded; give one or the other.")
        _score_puppets(options)
    elif not options.truth:
        raise InputError("Nothing to compare; give GENERATED and TRUTH, or --embedded.")
    else:
        from ..evaluation.comparison import compare

        report = compare(options.generated, options.truth)
        print_table(report)
        write_report(report, options.json)


def _score_puppets(options: argparse.Namespace) -> None:
    from ..evaluation.puppets import evaluate_puppets
    from ..evaluation.table import as_text
    from ..media import contact_sheet, write_picture

    pipe = load_model(options.model, options.device, options.dtype)
    result = evaluate_puppets(pipe, options.seed, options.identities, options.frames, options.steps, options.guidance)
    if options.sheet:
        captions = ("reference", "pose", "generated", "truth")
        write_picture(options.sheet, contact_sheet(result.rows(), captions, panel=192))
        print(f"pictures in {options.sheet}")
    settings = ("seed", "identities", "frames", "steps", "guidance", "size", "seconds")
    print_table({"model": options.model} | {name: result.scores[name] for name in settings})
    print(f"\n{as_text(result.table())}")
    write_report({"model": options.model, **result.scores}, options.json)
