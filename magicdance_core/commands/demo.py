"""The embedded model dances: a person it has never seen, in a motion it has never seen, beside the truth."""

import argparse
import time
from pathlib import Path

from .common import (
    add_model_arguments,
    file_path,
    load_model,
    positive_int,
    print_table,
    sampling_settings,
    seed,
    seeded_generator,
    write_report,
)

PANEL = 256
FPS = 15.0
CHOREOGRAPHY_FPS = 30.0
SHEET_ROWS = 6
CAPTIONS = ("reference", "pose", "result", "truth")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=file_path, default=Path("demo"), metavar="DIR", help="default: ./demo")
    parser.add_argument("--seed", type=seed, default=5, help="of the person, the motion and the noise (default: 5)")
    parser.add_argument("--frames", type=positive_int, default=48, help=f"default: 48, shown at {FPS:.0f} a second")
    add_model_arguments(parser)


def run(options: argparse.Namespace) -> None:
    from PIL import Image

    from ..evaluation.puppet_scores import make_scene, score
    from ..media import contact_sheet, write_animation, write_picture
    from ..pose.draw import draw_pose

    pipe = load_model("embedded", options.device, options.dtype)
    settings = sampling_settings(pipe, options)
    size = pipe.defaults["sample_size"]
    moments = [i * CHOREOGRAPHY_FPS / FPS for i in range(options.frames)]
    scene = make_scene(options.seed, moments, size)
    start = time.perf_counter()
    generated = pipe(
        scene.reference, list(scene.poses), generator=seeded_generator(options.seed), settings=settings
    ).frames
    seconds = time.perf_counter() - start

    out = options.out
    write_picture(out / "reference.png", scene.reference)
    for i, pose in enumerate(scene.poses):
        write_picture(out / "poses" / f"{i:05d}.png", pose)
    large_poses = [Image.fromarray(draw_pose(frame, PANEL, PANEL)) for frame in scene.keypoints]
    rows = [[scene.reference, *row] for row in zip(large_poses, generated, scene.truth)]
    shown = [contact_sheet([row], CAPTIONS, PANEL) for row in rows]
    for name in ("animation.gif", "animation.mp4"):
        with write_animation(out / name, FPS) as add:
            for picture in shown:
                add(picture)
    write_picture(out / "contact_sheet.png", contact_sheet(_spread(rows), CAPTIONS, PANEL))

    report = score(pipe, [scene], [list(generated)]) | {
        "frames": options.frames,
        "seconds": seconds,
        "steps": settings.num_inference_steps,
        "guidance": settings.guidance_scale,
        "preset": options.preset,
        "size": size,
        "seed": options.seed,
    }
    print_table(report)
    write_report(report, out / "report.json")
    print(f"animation, contact sheet, reference and poses in {out}")


def _spread(rows: list) -> list:
    """Up to SHEET_ROWS rows, evenly over all."""
    wanted = min(SHEET_ROWS, len(rows))
    return [rows[i * len(rows) // wanted] for i in range(wanted)]
