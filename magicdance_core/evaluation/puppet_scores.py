"""Scores of a model on puppets (drawn people), whose true pictures are known."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from ..errors import InputError
from ..pose.draw import draw_pose
from ..pose.keypoints import PoseFrame
from ..pose.parts import without_parts
from ..puppets import BodyPose, Choreography, Identity, draw_puppet, puppet_keypoints
from ..sampling import SamplingSettings, decode_frames, encode_images, to_images, to_pil
from .baselines import warp_to_pose
from .bootstrap import summarize
from .forced_choice import distractors, hand_mask, prefers_truth
from .metrics import psnr, ssim, to_float
from .table import Cell, Column, Table

if TYPE_CHECKING:
    from ..pipeline import MagicDancePipeline

CHOREOGRAPHY_FRAMES = 300
REFERENCE_DIFFERENCE = 0.1  # of some channel, in [0, 1]: where truth and reference differ by more, a picture changes
SEED_STRIDE = 1_000_000  # between the people of one seed and of the next

COLUMNS = (
    Column("psnr", "PSNR, dB", 1, +1),
    Column("ssim", "SSIM", 3, +1),
    Column("psnr_moving", "moving, dB", 1, +1),
    Column("psnr_hands", "hands, dB", 1, +1),
    Column("expression", "expression", 2, +1),
    Column("identity", "identity", 2, +1),
)
METHODS = {"_copy": "reference copied", "_warp": "reference warped", "": "generated", "_vae": "VAE of the truth"}


@dataclass(frozen=True)
class Scene:
    """A puppet in a reference pose and in a sequence of driving poses; square RGB pictures of one size."""

    identity: Identity
    bodies: tuple[BodyPose, ...]
    reference: Image.Image
    reference_keypoints: PoseFrame
    keypoints: tuple[PoseFrame, ...]
    poses: tuple[Image.Image, ...]
    truth: tuple[Image.Image, ...]


@dataclass(frozen=True)
class PuppetReport:
    """Scores (see `evaluate_puppets`), the scenes with their generated frames, and the scores of these frames."""

    scores: dict
    scenes: list[Scene]
    generated: list[list[Image.Image]]
    frame_scores: list[dict[str, np.ndarray]]

    def table(self) -> Table:
        """Return the scores beside those of two baselines and of the VAE's reconstruction."""
        intervals = self.scores["intervals"]
        return Table(COLUMNS, {
            method: {c.key: Cell(self.scores[c.key + suffix], intervals[c.key + suffix]) for c in COLUMNS}
            for suffix, method in METHODS.items()
        })  # fmt: skip

    def rows(self) -> list[list[Image.Image]]:
        """Return reference, pose, generated, truth of the first frame of each scene."""
        return [[s.reference, s.poses[0], made[0], s.truth[0]] for s, made in zip(self.scenes, self.generated)]


def make_scene(seed: int, moments: Iterable[float], size: int, hidden: Collection[str] = ()) -> Scene:
    """Draw an unseen identity at moments of an unseen choreography, in frames at 30 a second.

    The reference shows it in another choreography. Pictures have `size` x `size` pixels. hidden: parts of
    `pose.parts.HIDEABLE` that the pose maps lack.
    """
    identity = Identity.from_seed(seed, "test")
    dance, other_dance = (Choreography.from_seed(2 * seed + k, "test") for k in range(2))
    start = other_dance.pose(_spread(seed))
    bodies = [dance.pose(moment) for moment in moments]
    keypoints = [puppet_keypoints(identity, body, size) for body in bodies]
    return Scene(
        identity,
        tuple(bodies),
        draw_puppet(identity, start, size),
        puppet_keypoints(identity, start, size),
        tuple(keypoints),
        tuple(Image.fromarray(draw_pose(without_parts(frame, hidden))) for frame in keypoints),
        tuple(draw_puppet(identity, body, size) for body in bodies),
    )


def _spread(number: int) -> int:
    """Return a moment of a choreography for each number, spread evenly (golden ratio)."""
    return int(number * 0.6180339887 % 1 * CHOREOGRAPHY_FRAMES)


def evaluate_puppets(
    pipe: MagicDancePipeline,
    seed: int = 0,
    identities: int = 16,
    frames_per_identity: int = 4,
    settings: SamplingSettings | None = None,
    shrink: int = 1,
    hidden: Collection[str] = (),
) -> PuppetReport:
    """Transfer unseen puppets to unseen poses and compare with their true pictures.

    seed: of identities, choreographies, their moments and the noise, which all frames share. settings: of the runs; a
    motion module is not used, since moments are no clip. shrink: factor by which pictures are reduced before scoring,
    to compare with a model of fewer pixels. hidden: see `make_scene`.

    Returns, as means over all frames:
    psnr, dB; ssim of RGB pictures (see metrics.ssim);
    psnr_moving, dB over the pixels where truth and reference differ by more than REFERENCE_DIFFERENCE in some channel;
    psnr_hands, dB within the boxes of the hands;
    expression, the share of frames nearer to the truth than to the same face with another mouth and eyes;
    identity, the share nearer to the true person than to another in the same pose and scene (see forced_choice).
    The same with _copy for the reference itself, _warp for the reference warped to the pose (see baselines), and _vae
    for the VAE's reconstruction of the truth. intervals: for each the 95 % interval (low, high) over people, None for
    a single person or if nothing varies. Also seed, identities, frames (of all), steps, guidance, size (pixels, of what
    is scored), and seconds (of generating). Raises InputError if shrink does not divide the size.
    """
    settings = (settings or SamplingSettings()).resolve(pipe.defaults)
    size = pipe.defaults["sample_size"]
    if size % shrink:
        raise InputError(f"--shrink is {shrink}: give a divisor of the pictures' {size} pixels.")
    scenes = [
        make_scene(
            SEED_STRIDE * seed + i, (_spread(i + k * identities) for k in range(frames_per_identity)), size, hidden
        )
        for i in range(identities)
    ]
    start, generated = time.perf_counter(), []
    with pipe.without_motion():
        for scene in tqdm(scenes, desc="generating", unit="person"):
            noise = torch.Generator().manual_seed(seed)
            made = pipe(scene.reference, list(scene.poses), generator=noise, settings=settings)
            generated.append(list(made.frames))
    seconds = time.perf_counter() - start
    of_frames = frame_scores(pipe, scenes, generated, shrink)
    means, intervals = summarize(of_frames)
    counts = {"seed": seed, "identities": identities, "frames": identities * frames_per_identity}
    run = {"steps": settings.steps, "guidance": settings.scale, "size": size // shrink, "seconds": seconds}
    return PuppetReport(means | {"intervals": intervals} | counts | run, scenes, generated, of_frames)


def score(pipe: MagicDancePipeline, scenes: Sequence[Scene], generated: Sequence[Sequence[Image.Image]]) -> dict:
    """Return the mean scores of `evaluate_puppets` for the generated frames of each scene."""
    return summarize(frame_scores(pipe, scenes, generated))[0]


def frame_scores(
    pipe: MagicDancePipeline, scenes: Sequence[Scene], generated: Sequence[Sequence[Image.Image]], shrink: int = 1
) -> list[dict[str, np.ndarray]]:
    """Return, for each scene, metric -> float64 [frames], of frames reduced by `shrink`."""
    scores = []
    for scene, made in zip(scenes, generated):
        reference, rows = to_float(scene.reference), []
        for i, (image, decoded) in enumerate(zip(made, reconstruct(pipe, scene.truth))):
            warped = warp_to_pose(scene.reference, scene.reference_keypoints, scene.keypoints[i])
            pictures = {"": to_float(image), "_copy": reference, "_warp": to_float(warped), "_vae": decoded}
            rows.append(picture_scores(scene, i, pictures, shrink))
        scores.append({name: np.array([row[name] for row in rows]) for name in rows[0]})
    return scores


def picture_scores(scene: Scene, i: int, pictures: dict[str, np.ndarray], shrink: int = 1) -> dict[str, float]:
    """Return the scores of frame i of a scene. pictures: suffix of the metrics' names -> float64 in [0, 1]."""
    truth, reference = (shrunk(to_float(picture), shrink) for picture in (scene.truth[i], scene.reference))
    moving = np.abs(truth - reference).max(axis=-1) > REFERENCE_DIFFERENCE
    hands = shrunk(hand_mask(scene.keypoints[i]), shrink) > 0
    alternatives = distractors(scene.identity, scene.bodies[i], scene.identity.seed + i, scene.reference.width)
    row = {}
    for suffix, picture in pictures.items():
        picture = shrunk(picture, shrink)
        row["psnr" + suffix] = psnr(picture, truth)
        row["ssim" + suffix] = ssim(picture, truth)
        row["psnr_moving" + suffix] = psnr(picture, truth, where=moving)
        row["psnr_hands" + suffix] = psnr(picture, truth, where=hands)
        for name, other in alternatives.items():
            row[name + suffix] = prefers_truth(picture, truth, shrunk(other, shrink))
    return row


def shrunk(picture: np.ndarray, times: int) -> np.ndarray:
    """Return float64 [H / times, W / times, ...], means of square blocks of [H, W, ...]."""
    height, width = picture.shape[:2]
    blocks = picture.reshape(height // times, times, width // times, times, *picture.shape[2:])
    return blocks.mean(axis=(1, 3))


def reconstruct(pipe: MagicDancePipeline, pictures: Sequence[Image.Image]) -> list[np.ndarray]:
    """Encode and decode pictures of one size; return each as float64 [H, W, 3] in [0, 1], rounded to 8 bits."""
    latents = encode_images(pipe.vae, to_images(list(pictures), "The truth", pipe.factor))
    return [to_float(image) for frames in decode_frames(pipe.vae, latents) for image in to_pil(frames)]
