"""Arithmetic of sampling, counted while the sampling code itself runs on full-size networks without weights."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from torch.utils.flop_counter import FlopCounterMode

from .checkpoints import ROLES
from .models import Networks, predict, project_bank, read_pose
from .sampling import Control, Progress, Shortcuts, denoise, encode_poses
from .sampling.settings import FULL, NO_SHORTCUTS
from .schedule import published_scheduler

FRAMES, STEPS, SIDE = 16, 50, 512
PUBLISHED = 3124.0
"""GFLOP a frame and step of the published sampler at 512 x 512: it runs every network for every frame."""

ENCODER = {
    "block_out_channels": [320, 640, 1280, 1280],
    "down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
    "layers_per_block": 2,
    "cross_attention_dim": 768,
    "attention_head_dim": 8,
}
UNET = ENCODER | {"up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3}
POSES = torch.empty(FRAMES, 3, SIDE, SIDE, device="meta")
LATENTS = torch.empty(1, 4, SIDE // 8, SIDE // 8, device="meta")
CONTEXT = torch.empty(1, 77, 768, device="meta")
NETWORKS = {
    "UNet2DConditionModel": "unet",
    "AppearanceControlModel": "appearance",
    "PoseControlNet": "pose",
    "PoseEncoder": "pose",
}


def benchmark() -> dict:
    """Count the work of 16 frames at 512 x 512 in 50 steps with guidance; needs no GPU and no weights.

    Two steps run on the meta device: the first, in which frames share more, counts once, the second 49 times.
    A multiplication and an addition are two operations. Encoding the reference and decoding frames are no part
    of a step and not counted, nor are they in the published figure.
    Keys: `gflop_per_frame_step`, `ratio_to_published` (to 3124), `published_gflop_per_frame_step` (our networks
    called in the published order), `breakdown` (network -> its part of the first, same unit), and the settings.
    """
    networks = _full_size()
    breakdown = {name: flop / (FRAMES * STEPS * 1e9) for name, flop in _count_run(networks).items()}
    total = sum(breakdown.values())
    return {
        "gflop_per_frame_step": total,
        "ratio_to_published": total / PUBLISHED,
        "published_gflop_per_frame_step": _count_published(networks) / 1e9,
        "breakdown": breakdown,
        "frames": FRAMES,
        "steps": STEPS,
        "width": SIDE,
        "height": SIDE,
    }


def _count_run(networks: Networks) -> Counter:
    """Operations of a whole run, network -> number."""
    ends: list[Counter] = []

    def at_end_of_step(progress: Progress) -> None:
        if progress.frame == progress.frames:
            ends.append(_by_network(counter))

    with FlopCounterMode(display=False) as counter:
        hints = encode_poses(networks.pose, POSES)
    encoding = _by_network(counter)
    with FlopCounterMode(display=False) as counter:
        denoise(
            networks,
            published_scheduler(),
            LATENTS,
            CONTEXT,
            num_inference_steps=2,
            guidance_scale=7.0,
            reference=LATENTS,
            hints=hints,
            frames_per_batch=FRAMES,
            callback=at_end_of_step,
        )
    first, both = ends
    later = both - first
    return encoding + first + Counter({name: flop * (STEPS - 1) for name, flop in later.items()})


def _count_published(networks: Networks) -> int:
    """Operations of one frame and step in the published order: nothing shared, the pose read twice."""
    pose, timestep = POSES[:1], torch.tensor(601)
    with torch.no_grad():
        bank = networks.appearance(LATENTS, timestep, CONTEXT)
        with FlopCounterMode(display=False) as twice:
            predict(networks, LATENTS, timestep, CONTEXT)  # plain, and as the appearance network, with its whole tail
            residuals = read_pose(networks, LATENTS, timestep, CONTEXT, pose)
        with FlopCounterMode(display=False) as once:
            source = project_bank(networks.unet, bank)
            predict(networks, LATENTS, timestep, CONTEXT, source, residuals)
    return 2 * twice.get_total_flops() + once.get_total_flops()


@dataclass(frozen=True)
class Costs:
    """Operations of one call: the UNet for a frame without and with the controls, the reference's reading and its
    projection, the Pose ControlNet for a frame, the encoding of its map."""

    plain: float
    controlled: float
    reference: float
    pose: float
    encoding: float

    def of_run(
        self,
        frames: int,
        steps: int,
        shortcuts: Shortcuts = NO_SHORTCUTS,
        pose: Control = FULL,
    ) -> float:
        """Operations of a run with guidance, all frames from one noise, which makes one frame of its first plain step
        enough."""
        total, read, ran = frames * self.encoding, None, None
        for step in range(steps):
            total += frames * self.controlled
            if shortcuts.guided(step, steps):
                total += (frames if step else 1) * self.plain
            if shortcuts.read_at(step) != read:
                read = shortcuts.read_at(step)
                total += self.reference
            if pose.at(step, steps) and step // shortcuts.pose_every != ran:
                ran = step // shortcuts.pose_every
                total += frames * self.pose
        return total


@torch.no_grad()
def count_costs(networks: Networks, poses: torch.Tensor, latents: torch.Tensor, context: torch.Tensor) -> Costs:
    """Count one call of each network for pose maps `[F, 3, H, W]`; latents: `[1, 4, h, w]`, also the reference's."""
    timestep, frames = torch.tensor(601), len(poses)
    rows, counts = latents.expand(frames, -1, -1, -1), []

    def counted(call: Callable):
        with FlopCounterMode(display=False) as counter:
            result = call()
        counts.append(counter.get_total_flops())
        return result

    hints = counted(lambda: encode_poses(networks.pose, poses))
    source = counted(lambda: project_bank(networks.unet, networks.appearance(latents, timestep, context)))
    residuals = counted(lambda: read_pose(networks, rows, timestep, context, hints))
    counted(lambda: predict(networks, rows, timestep, context))
    counted(lambda: predict(networks, rows, timestep, context, source, residuals))
    encoding, reference, pose, plain, controlled = counts
    return Costs(plain / frames, controlled / frames, reference, pose / frames, encoding / frames)


@cache
def full_size_costs() -> Costs:
    """At 512 x 512, without weights."""
    return count_costs(_full_size(), POSES, LATENTS, CONTEXT)


def share_of_published(steps: int, own_steps: int, shortcuts: Shortcuts = NO_SHORTCUTS, pose: Control = FULL) -> float:
    """The arithmetic of a run of 16 frames at 512 x 512 as a part of what the published procedure needs for its own
    number of steps."""
    return full_size_costs().of_run(FRAMES, steps, shortcuts, pose) / (PUBLISHED * 1e9 * FRAMES * own_steps)


def _full_size() -> Networks:
    return Networks(
        *(ROLES[role].build(ENCODER if role == "pose" else UNET) for role in ("unet", "appearance", "pose"))
    )


def _by_network(counter: FlopCounterMode) -> Counter:
    counts = Counter()
    for module, operations in counter.get_flop_counts().items():
        if module in NETWORKS:
            counts[NETWORKS[module]] += sum(operations.values())
    # The UNet's own layers, called outside of it: keys and values of the reference.
    counts["bank"] = counter.get_total_flops() - counts.total()
    return counts
