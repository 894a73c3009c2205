"""Two puppets in one picture, and a puppet in the place of another one, against the truth.

    python -m benchmarks.scene

Unseen people dance unseen dances, side by side and crossing each other. Then each takes the place of another person in
that one's video, whose background stays.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from PIL import Image, ImageOps
from tqdm import tqdm

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
from magicdance_core.evaluation.arithmetic import count_people
from magicdance_core.evaluation.bootstrap import summarize
from magicdance_core.evaluation.forced_choice import prefers_truth
from magicdance_core.evaluation.metrics import border, psnr
from magicdance_core.evaluation.puppet_scores import CHOREOGRAPHY_FRAMES, SEED_STRIDE
from magicdance_core.media import contact_sheet
from magicdance_core.media.clean_plate import clean_plate
from magicdance_core.pipeline import MagicDancePipeline
from magicdance_core.pose.draw import draw_pose
from magicdance_core.pose.keypoints import PoseFrame
from magicdance_core.pose.person_masks import REFERENCE_MARGIN, person_mask, region_masks
from magicdance_core.puppets import (
    BodyPose,
    Choreography,
    Identity,
    draw_puppet,
    draw_puppets,
    puppet_keypoints,
    puppet_mask,
)
from magicdance_core.sampling import Background, Region, SamplingSettings

from .command import add_puppet_arguments, benchmark_parser, run_benchmark
from .steadiness import CHOREOGRAPHY_FPS, FPS, stack

APART = 0.5  # of each from the middle of the picture, in scenes' sides
PANEL, SHOWN = 128, 4
ANKLE = 0.026  # height of a puppet's ankle above the ground


@dataclass(frozen=True)
class Dancer:
    """An unseen puppet, its reference picture with the mask that keypoints give, and its poses in some frames."""

    identity: Identity
    reference: Image.Image
    mask: torch.Tensor
    poses: tuple[BodyPose, ...]

    @classmethod
    def make(cls, seed: int, places: Sequence[float], size: int) -> "Dancer":
        """places: where it stands in each frame, from the middle of the picture, in scenes' sides."""
        identity = Identity.from_seed(seed, "test")
        dance, other = (Choreography.from_seed(2 * seed + k, "test") for k in range(2))
        start = int(seed * 0.6180339887 % 1 * CHOREOGRAPHY_FRAMES)
        poses = [dance.pose(start + k * CHOREOGRAPHY_FPS / FPS) for k in range(len(places))]
        shown = puppet_keypoints(identity, other.pose(start), size).people[0]
        return cls(
            identity,
            draw_puppet(identity, other.pose(start), size),
            torch.from_numpy(person_mask(shown, size, size, REFERENCE_MARGIN)),
            tuple(_moved(pose, identity, place) for pose, place in zip(poses, places)),
        )


def _moved(pose: BodyPose, identity: Identity, across: float) -> BodyPose:
    """Return a pose that stands elsewhere."""
    steps = across / (identity.leg_length - ANKLE)
    return replace(
        pose,
        root_x=pose.root_x + across,
        right_foot_x=pose.right_foot_x - steps,
        left_foot_x=pose.left_foot_x + steps,
    )


def evaluate_scene(
    pipe: MagicDancePipeline,
    seed: int = 0,
    pairs: int = 8,
    frames: int = 6,
    settings: SamplingSettings | None = None,
    apart: bool = True,
) -> tuple[dict, list[list[Image.Image]]]:
    """Let pairs of unseen puppets dance together, side by side and crossing, and replace one by the other.

    apart: whether people are predicted one by one while the layout forms, see `sampling.Region`.
    identity: share of people and frames that are nearer to the truth than to the other dancer in their place.
    psnr_loss: dB inside a person's visible part, dancing alone minus dancing together. mask_iou, mask_recall:
    intersection over union of masks from keypoints without margin with the truth, and what they contain of it with the
    margin. Each also as NAME_crossing for people who cross.
    Replacement: plate_difference: largest difference from the video outside of the masks, in 1/255. psnr_replaced: dB
    inside the new person. border: see `evaluation.metrics.border`, where the new person is blended in. arithmetic:
    operations of a run with two people at full size, divided by those with one.
    Returns these and rows of pictures.
    """
    size = pipe.defaults["sample_size"]
    settings = (settings or SamplingSettings()).resolve(pipe.defaults)
    together, crossing, replaced, shown = [], [], [], []
    for number in tqdm(range(pairs), desc="generating", unit="pair"):
        first = SEED_STRIDE * seed + 2 * number
        noise = seed + number
        for crosses, rows in ((False, together), (True, crossing)):
            way = np.linspace(-APART, APART, frames)
            places = (way, -way) if crosses else (np.full(frames, -APART), np.full(frames, APART))
            pair = [Dancer.make(first + k, places[k], size) for k in range(2)]
            scores, pictures = _dance(pipe, pair, size, noise, settings, apart)
            rows.append(scores)
            if number < SHOWN:
                shown.append([pair[0].reference, pair[1].reference, *pictures])
        scores, pictures = _replace(pipe, first, frames, size, noise, settings)
        replaced.append(scores)
    means, intervals = summarize(together)
    for rows, suffix in ((crossing, "_crossing"), (replaced, "")):
        more, more_intervals = summarize(rows)
        means |= {name + suffix: value for name, value in more.items()}
        intervals |= {name + suffix: value for name, value in more_intervals.items()}
    means["plate_difference"] = max(float(row["plate_difference"].max()) for row in replaced)
    counts = {"seed": seed, "pairs": pairs, "frames": frames}
    report = means | {"arithmetic": count_people(2, apart) / count_people(1), "intervals": intervals} | counts
    return report | described(pipe, settings), shown


def _dance(
    pipe: MagicDancePipeline, pair: Sequence[Dancer], size: int, noise: int, settings: SamplingSettings, apart: bool
) -> tuple[dict[str, np.ndarray], list[Image.Image]]:
    """Return the scores of both people dancing together, float64 [2 * frames], and pictures of the middle frame."""
    canvas, count = (2 * size, size), len(pair[0].poses)
    scene = pair[0].identity
    alone_keypoints = [[puppet_keypoints(d.identity, pose, *canvas) for pose in d.poses] for d in pair]
    keypoints = [PoseFrame(one.people + other.people, *canvas) for one, other in zip(*alone_keypoints)]
    masks = torch.from_numpy(np.stack([region_masks(frame) for frame in keypoints]))  # [frames, 2, H, W]
    maps = [[Image.fromarray(draw_pose(frame)) for frame in frames] for frames in alone_keypoints]
    regions = [
        Region(pair[0].reference, poses=maps[0]),
        Region(pair[1].reference, masks[:, 1], pair[1].mask, maps[1] if apart else None),
    ]
    made = stack(_sample(pipe, regions, keypoints, noise, settings))
    alone = [stack(_sample(pipe, d.reference, frames, noise, settings)) for d, frames in zip(pair, alone_keypoints)]
    truth = stack(
        [draw_puppets(list(zip([d.identity for d in pair], poses)), *canvas) for poses in zip(*(d.poses for d in pair))]
    )
    rows: list[dict[str, float]] = []
    for k in range(count):
        covered = [puppet_mask(d.identity, d.poses[k], *canvas) for d in pair]
        for number, (dancer, other) in enumerate((pair, pair[::-1])):
            visible = covered[number] > 0.5 if number else (covered[0] > 0.5) & (covered[1] < 0.5)
            if not visible.any():
                continue
            swapped = _as_array(draw_puppets([(other.identity, dancer.poses[k])], *canvas, scene=scene))
            where = visible[..., None]
            keypoint_masks = [person_mask(keypoints[k].people[number], *canvas, *margin) for margin in ((0, 0), ())]
            rows.append({
                "identity": prefers_truth(made[k] * where, truth[k] * where, swapped * where),
                "psnr_loss": psnr(alone[number][k], truth[k], where=visible) - psnr(made[k], truth[k], where=visible),
                "psnr_together": psnr(made[k], truth[k], where=visible),
                "mask_iou": _overlap(keypoint_masks[0], covered[number]),
                "mask_recall": float(np.minimum(keypoint_masks[1], covered[number]).sum() / covered[number].sum()),
            })  # fmt: skip
    middle = count // 2
    poses = Image.fromarray(draw_pose(keypoints[middle]))
    pictures = [poses, *(_as_picture(video[middle]) for video in (*alone, made, truth))]
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}, pictures


def _replace(
    pipe: MagicDancePipeline, seed: int, frames: int, size: int, noise: int, settings: SamplingSettings
) -> tuple[dict[str, np.ndarray], list[Image.Image]]:
    """Return the scores, float64 [frames], of a person in the video of another one, in the same poses."""
    filmed = Dancer.make(seed, np.linspace(-0.2, 0.2, frames), size)
    new = Dancer.make(seed + 1, np.zeros(frames), size)
    video = [draw_puppets([(filmed.identity, pose)], size) for pose in filmed.poses]
    truth = stack([draw_puppets([(new.identity, pose)], size, scene=filmed.identity) for pose in filmed.poses])
    before = [puppet_keypoints(filmed.identity, pose, size) for pose in filmed.poses]
    keypoints = [puppet_keypoints(new.identity, pose, size) for pose in filmed.poses]
    hidden = [person_mask(frame.people[0], size, size) for frame in before]
    masks = np.stack([person_mask(frame.people[0], size, size) for frame in keypoints])
    plate = clean_plate(map(np.asarray, video), hidden, frames)
    filled = [Image.fromarray(plate.fill(np.asarray(one), mask)) for one, mask in zip(video, hidden)]
    where = torch.from_numpy(np.concatenate([region_masks(frame) for frame in keypoints]))
    regions = [Region(Image.fromarray(plate.picture)), Region(new.reference, where, new.mask)]
    background = Background(filled, torch.from_numpy(masks))
    made = stack(_sample(pipe, regions, keypoints, noise, settings, background))
    rows = []
    for k, pose in enumerate(filmed.poses):
        outside = (masks[k] == 0) & (hidden[k] == 0)
        inside = puppet_mask(new.identity, pose, size) > 0.5
        rows.append({
            "plate_difference": float(np.abs(made[k] - _as_array(video[k]))[outside].max() * 255),
            "psnr_replaced": psnr(made[k], truth[k], where=inside),
            "border": border(made[k], truth[k], masks[k]),
        })  # fmt: skip
    middle = frames // 2
    pictures = [video[middle], new.reference, filled[middle], _as_picture(made[middle]), _as_picture(truth[middle])]
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}, pictures


def _sample(pipe: MagicDancePipeline, reference, keypoints, noise, settings, background=None) -> list[Image.Image]:
    maps = [Image.fromarray(draw_pose(frame)) for frame in keypoints]
    out = pipe(reference, maps, generator=seeded_generator(noise), settings=settings, background=background)
    return list(out.frames)


def _overlap(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.minimum(one, other).sum() / np.maximum(one, other).sum())


def _as_array(picture: Image.Image) -> np.ndarray:
    return stack([picture])[0]


def _as_picture(frame: np.ndarray) -> Image.Image:
    return Image.fromarray((frame * 255).round().astype(np.uint8))


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark and return the exit status."""
    parser = benchmark_parser("scene", __doc__, _run)
    add_puppet_arguments(parser, people=8, frames=6)
    parser.add_argument("--together", action="store_true", help="predict people together at all steps")
    parser.add_argument("--sheet", type=file_path, metavar="FILE", help="some scenes side by side (.png)")
    add_model_arguments(parser)
    return run_benchmark(parser, arguments)


def _run(options: argparse.Namespace) -> None:
    pipe = load_model(options.model, options.device, options.dtype)
    settings = sampling_settings(pipe, options)
    report, shown = evaluate_scene(
        pipe, options.seed, options.identities, options.frames, settings, not options.together
    )
    print_table(report)
    if options.sheet:
        names = ["one", "another", "pose", "one alone", "another alone", "together", "truth"]
        rows = [[ImageOps.pad(picture, (PANEL, PANEL)) for picture in row] for row in shown]
        contact_sheet(rows, names, PANEL).save(options.sheet)
        print(f"scenes side by side in {options.sheet}")
    write_report({"model": options.model, **report}, options.json)


if __name__ == "__main__":
    sys.exit(main())
