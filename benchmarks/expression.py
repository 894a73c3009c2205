"""What the sliders of an edited expression do to generated faces of puppets.

    python -m benchmarks.expression

Unseen people in moments of unseen dances get a neutral face, and one slider is set in their keypoints. Keypoints, or a
generated frame, follow if they are nearer to those of the person drawn with that expression than to the neutral ones.
"""

import argparse
import sys
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from PIL import Image
from tqdm import tqdm

from magicdance_core.commands.common import (
    add_model_arguments,
    load_model,
    sampling_settings,
    seeded_generator,
    write_report,
)
from magicdance_core.evaluation.bootstrap import summarize
from magicdance_core.evaluation.forced_choice import prefers_truth
from magicdance_core.evaluation.metrics import to_float
from magicdance_core.evaluation.puppet_scores import CHOREOGRAPHY_FRAMES, SEED_STRIDE, make_scene
from magicdance_core.evaluation.table import Cell, Column, Table, as_data, as_text
from magicdance_core.pipeline import MagicDancePipeline
from magicdance_core.pose.draw import draw_pose
from magicdance_core.pose.expression import edit_expression
from magicdance_core.puppets import BodyPose, Choreography, draw_puppet, puppet_keypoints
from magicdance_core.sampling import SamplingSettings

from .command import add_puppet_arguments, benchmark_parser, run_benchmark

REFERENCE_SCALE = 4  # of the reference's sides to the frames', for the face pass
NEUTRAL = {
    "mouth_open": 0.0, "mouth_width": 0.0, "smile": 0.0, "brow_raise": 0.0, "brow_frown": 0.0, "right_eye": 0.9,
    "left_eye": 0.9, "gaze_x": 0.0, "gaze_y": 0.0, "head_tilt": 0.0,
}  # fmt: skip
FIELDS: Mapping[str, tuple[str, ...]] = {
    "mouth_open": ("mouth_open",), "smile": ("smile",), "brows": ("brow_raise",), "gaze_x": ("gaze_x",),
    "gaze_y": ("gaze_y",), "head_tilt": ("head_tilt",), "blink": ("right_eye", "left_eye"),
}  # fmt: skip
SETTINGS = (
    ("mouth_open", 0.8), ("smile", 0.8), ("smile", -0.8), ("brows", 0.9), ("brows", -0.9), ("blink", 1.0),
    ("gaze_x", 0.9), ("gaze_y", 0.9), ("head_tilt", 12.0), ("head_tilt", -12.0),
)  # fmt: skip
COLUMNS = (
    Column("keypoints", "keypoints", 2, +1),
    Column("frames", "frames", 2, +1),
    Column("face_pass", "with the face pass", 2, +1),
)


def evaluate_expressions(
    pipe: MagicDancePipeline,
    seed: int = 0,
    people: int = 8,
    frames: int = 4,
    settings: SamplingSettings | None = None,
) -> Table:
    """Return for each setting of a slider the share of keypoints and of frames, without and with the face pass, that
    follow it."""
    size = pipe.defaults["sample_size"]
    videos: dict[str, list[dict[str, np.ndarray]]] = {_name(*setting): [] for setting in SETTINGS}
    for number in tqdm(range(people), desc="generating", unit="person"):
        scene = make_scene(SEED_STRIDE * seed + number, [17.0 * (k + 1) for k in range(frames)], size)
        person = scene.identity.seed
        start = Choreography.from_seed(2 * person + 1, "test").pose(int(person * 0.618 % 1 * CHOREOGRAPHY_FRAMES))
        larger = REFERENCE_SCALE * size
        picture = draw_puppet(scene.identity, start, larger)
        portrait = puppet_keypoints(scene.identity, start, larger)
        bodies = [replace(body, **NEUTRAL) for body in scene.bodies]
        neutral = [puppet_keypoints(scene.identity, body, size) for body in bodies]
        for slider, value in SETTINGS:
            keypoints = edit_expression(neutral, {slider: value})
            poses = [Image.fromarray(draw_pose(frame)) for frame in keypoints]
            made = pipe(scene.reference, poses, generator=seeded_generator(seed + number), settings=settings).frames
            refined = pipe.refine_faces(
                made, keypoints, picture, portrait, generator=seeded_generator(seed + number), settings=settings
            ).frames
            row: dict[str, list[float]] = {column.key: [] for column in COLUMNS}
            for body, points, *shown in zip(bodies, keypoints, made, refined):
                wanted = _changed(body, slider, value)
                drawn = [to_float(draw_puppet(scene.identity, pose, size)) for pose in (wanted, body)]
                faces = [puppet_keypoints(scene.identity, pose, size).people[0].face for pose in (wanted, body)]
                row["keypoints"].append(prefers_truth(points.people[0].face, *faces))
                for key, frame in zip(("frames", "face_pass"), shown):
                    row[key].append(prefers_truth(to_float(frame), *drawn))
            videos[_name(slider, value)].append({key: np.array(values) for key, values in row.items()})
    rows = {}
    for name, scored in videos.items():
        means, intervals = summarize(scored)
        rows[name] = {column.key: Cell(means[column.key], intervals[column.key]) for column in COLUMNS}
    return Table(COLUMNS, rows)


def _changed(body: BodyPose, slider: str, value: float) -> BodyPose:
    return replace(
        body,
        **{name: 0.0 if slider == "blink" else getattr(body, name) + value for name in FIELDS[slider]},
    )


def _name(slider: str, value: float) -> str:
    return f"{slider} {value:+g}"


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark and return the exit status."""
    parser = benchmark_parser("expression", __doc__, _run)
    add_puppet_arguments(parser, people=8, frames=4)
    add_model_arguments(parser)
    return run_benchmark(parser, arguments)


def _run(options: argparse.Namespace) -> None:
    pipe = load_model(options.model, options.device, options.dtype)
    table = evaluate_expressions(
        pipe, options.seed, options.identities, options.frames, sampling_settings(pipe, options)
    )
    print(as_text(table))
    write_report({"model": options.model, "seed": options.seed, **as_data(table)}, options.json)


if __name__ == "__main__":
    sys.exit(main())
