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

from ..pose.draw import draw_pose
from ..pose.keypoints import PoseFrame
from ..puppets import Choreography, Identity, draw_puppet, puppet_keypoints
from .metrics import psnr, ssim, to_float

if TYPE_CHECKING:
    from ..pipeline import MagicDancePipeline

CHOREOGRAPHY_FRAMES = 300
# The part of a picture that changes: where some channel of truth and reference differ by more than this, of 0..1.
MOVING_THRESHOLD = 0.1
SEEDS_APART = 1_000_000


@dataclass(frozen=True)
class Scene:
    """A puppet in a reference pose and in a sequence of driving poses; square RGB pictures of one size."""

    reference: Image.Image
    keypoints: tuple[PoseFrame, ...]
    poses: tuple[Image.Image, ...]
    truth: tuple[Image.Image, ...]


@dataclass(frozen=True)
class PuppetReport:
    """scores: see `evaluate_puppets`. generated: the frames of each scene."""

    scores: dict
    scenes: list[Scene]
    generated: list[list[Image.Image]]

    def rows(self) -> list[list[Image.Image]]:
        """Reference, pose, generated, truth: the first frame of each scene."""
        return [[s.reference, s.poses[0], made[0], s.truth[0]] for s, made in zip(self.scenes, self.generated)]


def make_scene(seed: int, moments: Iterable[float], size: int) -> Scene:
    """The unseen identity of a seed at moments (frames at 30 a second) of an unseen choreography.

    The reference shows it in another choreography. Pictures have `size` x `size` pixels.
    """
    identity = Identity.from_seed(seed, "test")
    dance, other_dance = (Choreography.from_seed(2 * seed + k, "test") for k in range(2))
    poses = [dance.pose(moment) for moment in moments]
    keypoints = [puppet_keypoints(identity, pose, size) for pose in poses]
    return Scene(
        draw_puppet(identity, other_dance.pose(_spread(seed)), size),
        tuple(keypoints),
        tuple(Image.fromarray(draw_pose(frame)) for frame in keypoints),
        tuple(draw_puppet(identity, pose, size) for pose in poses),
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
) -> PuppetReport:
    """Let unseen puppets take unseen poses, and compare with how they look in them.

    seed: draws identities, choreographies, their moments and the noise, which all frames share. num_inference_steps,
    guidance_scale: the model's own by default.

    Scores are means over all frames, of each frame's own value: psnr, dB; ssim of RGB pictures (see metrics.ssim);
    psnr_moving, dB over the pixels where truth and reference differ by more than MOVING_THRESHOLD in some channel. The
    same with _copy for the reference taken as the result, with _vae for the VAE's reconstruction of the truth. Beside
    them seed, identities, frames (of all), steps, guidance, size (pixels), seconds (of generating).
    """
    steps = pipe.defaults["num_inference_steps"] if num_inference_steps is None else num_inference_steps
    guidance = pipe.defaults["guidance_scale"] if guidance_scale is None else guidance_scale
    size = pipe.defaults["sample_size"]
    scenes = [
        make_scene(SEEDS_APART * seed + i, (_spread(i + k * identities) for k in range(frames_per_identity)), size)
        for i in range(identities)
    ]
    start, generated = time.perf_counter(), []
    for scene in tqdm(scenes, desc="generating", unit="person"):
        noise = torch.Generator().manual_seed(seed)
        generated.append(pipe(scene.reference, list(scene.poses), steps, guidance, generator=noise).frames)
    seconds = time.perf_counter() - start
    scores = score(pipe, scenes, generated)
    counts = {"seed": seed, "identities": identities, "frames": identities * frames_per_identity}
    settings = {"steps": steps, "guidance": guidance, "size": size, "seconds": seconds}
    return PuppetReport(scores | counts | settings, scenes, generated)


def score(pipe: MagicDancePipeline, scenes: Sequence[Scene], generated: Sequence[Sequence[Image.Image]]) -> dict:
    """The scores of `evaluate_puppets` for the generated frames of each scene."""
    rows = []
    for scene, made in zip(scenes, generated):
        reference = to_float(scene.reference)
        for image, truth, seen in zip(made, map(to_float, scene.truth), reconstruct(pipe, scene.truth)):
            moving = np.abs(truth - reference).max(axis=-1) > MOVING_THRESHOLD
            row = {}
            for ending, picture in (("", to_float(image)), ("_copy", reference), ("_vae", seen)):
                row["psnr" + ending] = psnr(picture, truth)
                row["ssim" + ending] = ssim(picture, truth)
                row["psnr_moving" + ending] = psnr(picture, truth, where=moving)
            rows.append(row)
    return {name: float(np.nanmean([row[name] for row in rows])) for name in rows[0]}


@torch.no_grad()
def reconstruct(pipe: MagicDancePipeline, pictures: Sequence[Image.Image]) -> np.ndarray:
    """What the VAE makes of pictures of one size: float64 [F, H, W, 3], [0, 1], in 8-bit steps."""
    parameter = next(pipe.vae.parameters())
    images = torch.from_numpy(np.stack([np.asarray(p) for p in pictures])).permute(0, 3, 1, 2).to(parameter)
    decoded = pipe.vae.decode(pipe.vae.encode(images / 127.5 - 1).latent_dist.mode()).sample
    unit = (decoded.float() / 2 + 0.5).clamp(0, 1)
    return (unit * 255).round().permute(0, 2, 3, 1).cpu().double().numpy() / 255
