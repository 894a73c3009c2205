"""The face pass on dances of puppets: faces with it and without, against the truth.

    python -m benchmarks.faces --motion embedded

Unseen people dance unseen dances. Their references are drawn larger than the frames, as photographs are.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

from magicdance_core.choices import FACE_PASS_STRENGTH
from magicdance_core.commands.common import (
    add_model_arguments,
    described,
    file_path,
    load_model,
    print_table,
    sampling_settings,
    seeded_generator,
    write_report,
)
from magicdance_core.commands.motion_options import add_motion_arguments, load_chosen_motion, with_motion
from magicdance_core.evaluation.bootstrap import summarize
from magicdance_core.evaluation.forced_choice import distractors, prefers_truth
from magicdance_core.evaluation.metrics import border, psnr, to_float
from magicdance_core.evaluation.puppet_scores import CHOREOGRAPHY_FRAMES, SEED_STRIDE, Scene, make_scene
from magicdance_core.media import contact_sheet
from magicdance_core.media.square_crops import FEATHER, cut_square
from magicdance_core.pipeline import MagicDanceOutput, MagicDancePipeline
from magicdance_core.pose.face_crops import SIDE, Crop, face_crop, face_tracks
from magicdance_core.pose.keypoints import PoseFrame
from magicdance_core.puppets import Choreography, draw_puppet, puppet_keypoints
from magicdance_core.sampling import SamplingSettings

from .command import add_puppet_arguments, benchmark_parser, run_benchmark
from .steadiness import CHOREOGRAPHY_FPS, FPS, stack

REFERENCE_SCALE = 4  # of the reference's sides to the frames'
SHOWN, PANEL = 3, 192


def evaluate_faces(
    pipe: MagicDancePipeline,
    seed: int = 0,
    people: int = 16,
    frames: int = 12,
    settings: SamplingSettings | None = None,
    strength: float = FACE_PASS_STRENGTH,
) -> tuple[dict, list[list[Image.Image]]]:
    """Let unseen puppets dance, without and with the face pass, and compare their faces with the truth.

    psnr_face: dB within the box of the landmarks. expression, identity: share of frames nearer to the truth than to the
    same face with another expression, or to another person (see evaluation.forced_choice). flicker_face: error of the
    change from frame to frame within that box, in 1/255. Each also as NAME_without.
    border: see `evaluation.metrics.border`, of the frame where the face is blended in; border_without: in the same
    places where nothing is blended in. arithmetic: operations of the whole run, divided by those without the pass.
    intervals: 95 % over people.
    Returns these and rows of pictures: reference, pose, without, with the pass, truth.
    """
    size = pipe.defaults["sample_size"]
    settings = (settings or SamplingSettings()).resolve(pipe.defaults)
    rows, shown, operations = [], [], np.zeros(2)
    for number in tqdm(range(people), desc="generating", unit="person"):
        start = int(number * 0.6180339887 % 1 * CHOREOGRAPHY_FRAMES)
        moments = [start + k * CHOREOGRAPHY_FPS / FPS for k in range(frames)]
        scene = make_scene(SEED_STRIDE * seed + number, moments, size)
        reference, person = _larger_reference(scene, size)

        first_pass = partial(pipe, scene.reference, list(scene.poses), settings=settings)
        without, first = _counted(first_pass, seed + number, number == 0)
        face_pass = partial(pipe.refine_faces, without, scene.keypoints, reference, person, strength, settings=settings)
        refined, second = _counted(face_pass, seed + number, number == 0)
        operations += first, second
        crops = face_tracks(scene.keypoints)[0].crops
        rows.append(
            _scores(scene, without, "_without")
            | _scores(scene, refined, "")
            | {"border" + end: _borders(made, scene, crops) for made, end in ((refined, ""), (without, "_without"))}
        )
        if number < SHOWN:
            shown += [
                [_cut(reference, _crop_of(person))]
                + [_cut(pictures[k], crops[k]) for pictures in (scene.poses, without, refined, scene.truth)]
                for k in (0, frames // 2)
            ]
    means, intervals = summarize(rows)
    counts = {"seed": seed, "identities": people, "frames": people * frames, "strength": strength}
    report = means | {"arithmetic": float(operations.sum() / operations[0]), "intervals": intervals} | counts
    return report | described(pipe, settings), shown


def _larger_reference(scene: Scene, size: int):
    """Return the scene's reference and its keypoints in the resolution of a photograph."""
    seed = scene.identity.seed
    start = Choreography.from_seed(2 * seed + 1, "test").pose(int(seed * 0.6180339887 % 1 * CHOREOGRAPHY_FRAMES))
    larger = REFERENCE_SCALE * size
    return draw_puppet(scene.identity, start, larger), puppet_keypoints(scene.identity, start, larger)


def _counted(call: Callable[..., MagicDanceOutput], seed: int, count: bool) -> tuple[list[Image.Image], int]:
    """Return the frames of a pass with the noise of a seed, and the number of its operations if they are counted."""
    if not count:
        return list(call(generator=seeded_generator(seed)).frames), 0
    with FlopCounterMode(display=False) as counter:
        frames = call(generator=seeded_generator(seed)).frames
    return list(frames), counter.get_total_flops()


def _scores(scene: Scene, pictures: Sequence[Image.Image], suffix: str) -> dict[str, np.ndarray]:
    video, truth, size = stack(pictures), stack(scene.truth), scene.reference.width
    boxes = [_face_box(_crop_of(frame), size) for frame in scene.keypoints]
    change = np.abs(np.diff(video, axis=0) - np.diff(truth, axis=0)).mean(-1) * 255
    scores: dict[str, list[float]] = {name: [] for name in ("psnr_face", "expression", "identity")}
    for k, (made, true) in enumerate(zip(video, truth)):
        scores["psnr_face"].append(psnr(made, true, where=boxes[k]))
        for name, other in distractors(scene.identity, scene.bodies[k], scene.identity.seed + k, size).items():
            scores[name].append(prefers_truth(made, true, other))
    both = [one | other for one, other in zip(boxes, boxes[1:])]
    scores["flicker_face"] = [float(part[box].mean()) for part, box in zip(change, both)] + [np.nan]
    return {name + suffix: np.array(values) for name, values in scores.items()}


def _crop_of(frame: PoseFrame) -> Crop:
    crop = face_crop(frame.people[0])
    assert crop is not None  # a puppet faces the viewer
    return crop


def _face_box(crop: Crop, size: int) -> np.ndarray:
    """Return bool [size, size]: the square of the landmarks, in the middle of a crop."""
    return _depth(crop, size) > (1 - 1 / SIDE) / 2


def _depth(crop: Crop, size: int) -> np.ndarray:
    """Return the distance of each pixel from the border of a crop, in its sides; negative outside."""
    places = np.arange(size) + 0.5
    across = [np.minimum(places - low, low + crop.side - places) / crop.side for low in (crop.top, crop.left)]
    return np.minimum(across[0][:, None], across[1])


def _borders(pictures: Sequence[Image.Image], scene: Scene, crops: Sequence[Crop]) -> np.ndarray:
    """Return the border of each frame, float64 [frames]."""
    shown = zip(map(to_float, pictures), map(to_float, scene.truth), crops)
    return np.array([border(made, true, _weight(crop, len(made))) for made, true, crop in shown])


def _weight(crop: Crop, size: int) -> np.ndarray:
    """Return the weight with which a crop is blended in, float [size, size]."""
    return (_depth(crop, size) / FEATHER).clip(0, 1)


def _cut(picture: Image.Image, crop: Crop) -> Image.Image:
    return cut_square(picture, crop.left, crop.top, crop.side, PANEL)


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark and return the exit status."""
    parser = benchmark_parser("faces", __doc__, _run)
    add_puppet_arguments(parser, people=16, frames=12)
    parser.add_argument("--strength", type=float, default=FACE_PASS_STRENGTH, help="of the face pass, 0 to 1")
    parser.add_argument("--sheet", type=file_path, metavar="FILE", help="faces of some people side by side (.png)")
    add_model_arguments(parser)
    add_motion_arguments(parser)
    return run_benchmark(parser, arguments)


def _run(options: argparse.Namespace) -> None:
    pipe = load_model(options.model, options.device, options.dtype)
    load_chosen_motion(pipe, options)
    settings = with_motion(sampling_settings(pipe, options), pipe, options)
    report, shown = evaluate_faces(pipe, options.seed, options.identities, options.frames, settings, options.strength)
    print_table(report)
    if options.sheet:
        contact_sheet(shown, ["reference", "pose", "without", "with the face pass", "truth"], PANEL).save(options.sheet)
        print(f"faces side by side in {options.sheet}")
    write_report({"model": options.model, **report}, options.json)


if __name__ == "__main__":
    sys.exit(main())
