"""Arithmetic of sampling, counted while the sampling code itself runs on full-size networks without weights."""

from collections import Counter

import torch
from torch.utils.flop_counter import FlopCounterMode

from .checkpoints import ROLES
from .models import Networks, predict, project_bank, read_pose
from .sampling import Progress, denoise, encode_poses
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
    networks = Networks(
        *(ROLES[role].build(ENCODER if role == "pose" else UNET) for role in ("unet", "appearance", "pose"))
    )
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
        with FlopCounterMode(display=False) as counter:
            predict(networks, LATENTS, timestep, CONTEXT)  # the appearance network with the tail that ours lacks
            source = project_bank(networks.unet, bank)
            residuals = read_pose(networks, LATENTS, timestep, CONTEXT, pose)
            predict(networks, LATENTS, timestep, CONTEXT, source, residuals)
            read_pose(networks, LATENTS, timestep, CONTEXT, pose)
            predict(networks, LATENTS, timestep, CONTEXT)
    return counter.get_total_flops()


def _by_network(counter: FlopCounterMode) -> Counter:
    counts = Counter()
    for module, operations in counter.get_flop_counts().items():
        if module in NETWORKS:
            counts[NETWORKS[module]] += sum(operations.values())
    # The UNet's own layers, called outside of it: keys and values of the reference.
    counts["bank"] = counter.get_total_flops() - counts.total()
    return counts
