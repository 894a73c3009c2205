"""How well a model transfers: on puppets the truth is known, pixel by pixel."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from ..errors import InputError
from ..pose.draw import draw_pose
from ..pose.keypoints import PoseFrame
from ..puppets import BodyPose, Choreography, Identity, draw_puppet, puppet_keypoints
from ..sampling import decode_frames, encode_images, to_images, to_pil
from .baselines import warp_to_pose
from .bootstrap import summarize
from .likeness import hand_mask, nearer, rivals
from .metrics import psnr, ssim, to_float
from .table import Cell, Column, Table

if TYPE_CHECKING:
    from ..pipeline import MagicDancePipeline

CHOREOGRAPHY_FRAMES = 300
# The part of a picture that changes: where some channel of truth and reference differ by more than this, of 0..1.
MOVING_THRESHOLD = 0.1
SEEDS_APART = 1_000_000

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
    """scores: see `evaluate_puppets`. generated: the frames of each scene."""

    scores: dict
    scenes: list[Scene]
    generated: list[list[Image.Image]]

    def table(self) -> Table:
        """The scores with the baselines above and the VAE below."""
        intervals = self.scores["intervals"]
        return Table(COLUMNS, {
            method: {c.key: Cell(self.scores[c.key + end], intervals[c.key + end]) for c in COLUMNS}
            for end, method in METHODS.items()
        })  # fmt: skip

    def rows(self) -> list[list[Image.Image]]:
        """Reference, pose, generated, truth: the first frame of each scene."""
        return [[s.reference, s.poses[0], made[0], s.truth[0]] for s, made in zip(self.scenes, self.generated)]


def make_scene(seed: int, moments: Iterable[float], size: int) -> Scene:
    """The unseen identity of a seed at moments (frames at 30 a second) of an unseen choreography.

    The reference shows it in another choreography. Pictures have `size` x `size` pixels.
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
        tuple(Image.fromarray(draw_pose(frame)) for frame in keypoints),
        tuple(draw_puppet(identity, body, size) for body in bodies),
    )


def _spread(number: int) -> int:
    """A moment of a choreography for each number, all over it (golden ratio)."""
    return int(number * 0.6180339887 % 1 * CHOREOGRAPHY_FRAMES)


def evaluate_puppets(
    pipe: MagicDancePipeline,
    seed: int = 0,
    identities: int = 16,
    frames_per_identity: int = 4,
    num_inference_steps: int | None = None,
    guidance_scale: float | None = None,
    shrink: int = 1,
    **options,
) -> PuppetReport:
    """Let unseen puppets take unseen poses, and compare with how they look in them.

    seed: draws identities, choreographies, their moments and the noise, which all frames share. num_inference_steps,
    guidance_scale: the model's own by default. shrink: all pictures are made so many times smaller before they are
    scored, for a comparison with a model of fewer pixels; it divides the model's size.
    options: others of the pipeline's. A motion module is left out: moments far apart are no clip.

    Scores are means over all frames, of each frame's own value:
    psnr, dB; ssim of RGB pictures (see metrics.ssim);
    psnr_moving, dB over the pixels where truth and reference differ by more than MOVING_THRESHOLD in some channel;
    psnr_hands, dB within the boxes of the hands;
    expression, the share of frames nearer to the truth than to the same face with other mouth and eyes;
    identity, the share nearer to the true person than to another in the same pose and scene (see likeness).
    The same with _copy for the reference taken as the result, with _warp for the reference warped to the pose (see
    baselines), with _vae for the VAE's reconstruction of the truth. intervals: for each of them the 95 % interval
    (low, high), by drawing people anew; None for a single person, and where nothing varies. Beside them seed,
    identities, frames (of all), steps, guidance, size (pixels, of what is scored), seconds (of generating).
    Raises InputError for a shrink that does not divide the size.
    """
    steps = pipe.defaults["num_inference_steps"] if num_inference_steps is None else num_inference_steps
    guidance = pipe.defaults["guidance_scale"] if guidance_scale is None else guidance_scale
    size = pipe.defaults["sample_size"]
    if size % shrink:
        raise InputError(f"Pictures of {size} pixels cannot be made {shrink} times smaller; give a divisor.")
    scenes = [
        make_scene(SEEDS_APART * seed + i, (_spread(i + k * identities) for k in range(frames_per_identity)), size)
        for i in range(identities)
    ]
    start, generated = time.perf_counter(), []
    with pipe.without_motion():
        for scene in tqdm(scenes, desc="generating", unit="person"):
            noise = torch.Generator().manual_seed(seed)
            made = pipe(scene.reference, list(scene.poses), steps, guidance, generator=noise, **options)
            generated.append(made.frames)
    seconds = time.perf_counter() - start
    means, intervals = summarize(frame_scores(pipe, scenes, generated, shrink))
    counts = {"seed": seed, "identities": identities, "frames": identities * frames_per_identity}
    settings = {"steps": steps, "guidance": guidance, "size": size // shrink, "seconds": seconds}
    return PuppetReport(means | {"intervals": intervals} | counts | settings, scenes, generated)


def score(pipe: MagicDancePipeline, scenes: Sequence[Scene], generated: Sequence[Sequence[Image.Image]]) -> dict:
    """The mean scores of `evaluate_puppets` for the generated frames of each scene."""
    return summarize(frame_scores(pipe, scenes, generated))[0]


def frame_scores(
    pipe: MagicDancePipeline, scenes: Sequence[Scene], generated: Sequence[Sequence[Image.Image]], shrink: int = 1
) -> list[dict[str, np.ndarray]]:
    """The scores of each frame, made `shrink` times smaller: for each scene, by name, float64 [frames]."""
    scores = []
    for scene, made in zip(scenes, generated):
        reference, rows = to_float(scene.reference), []
        for i, (image, seen) in enumerate(zip(made, reconstruct(pipe, scene.truth))):
            warped = warp_to_pose(scene.reference, scene.reference_keypoints, scene.keypoints[i])
            pictures = {"": to_float(image), "_copy": reference, "_warp": to_float(warped), "_vae": seen}
            rows.append(picture_scores(scene, i, pictures, shrink))
        scores.append({name: np.array([row[name] for row in rows]) for name in rows[0]})
    return scores


def picture_scores(scene: Scene, i: int, pictures: dict[str, np.ndarray], shrink: int = 1) -> dict[str, float]:
    """The scores of a frame of a scene, as `evaluate_puppets` names them; pictures: float64, [0, 1], by ending."""
    truth, reference = (shrunk(to_float(picture), shrink) for picture in (scene.truth[i], scene.reference))
    moving = np.abs(truth - reference).max(axis=-1) > MOVING_THRESHOLD
    hands = shrunk(hand_mask(scene.keypoints[i]), shrink) > 0
    others = rivals(scene.identity, scene.bodies[i], scene.identity.seed + i, scene.reference.width)
    row = {}
    for ending, picture in pictures.items():
        picture = shrunk(picture, shrink)
        row["psnr" + ending] = psnr(picture, truth)
        row["ssim" + ending] = ssim(picture, truth)
        row["psnr_moving" + ending] = psnr(picture, truth, where=moving)
        row["psnr_hands" + ending] = psnr(picture, truth, where=hands)
        for name, other in others.items():
            row[name + ending] = nearer(picture, truth, shrunk(other, shrink))
    return row


def shrunk(picture: np.ndarray, times: int) -> np.ndarray:
    """float64 [H / times, W / times, ...]: means of blocks of [H, W, ...]."""
    height, width = picture.shape[:2]
    blocks = picture.reshape(height // times, times, width // times, times, *picture.shape[2:])
    return blocks.mean(axis=(1, 3))


def reconstruct(pipe: MagicDancePipeline, pictures: Sequence[Image.Image]) -> list[np.ndarray]:
    """What the VAE makes of pictures of one size: each float64 [H, W, 3], [0, 1], in 8-bit steps."""
    latents = encode_images(pipe.vae, to_images(list(pictures), "The truth", pipe.factor))
    return [to_float(image) for frames in decode_frames(pipe.vae, latents) for image in to_pil(frames)]
