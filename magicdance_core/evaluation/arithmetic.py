"""Arithmetic of sampling, counted while the sampling code itself runs on networks without weights."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch.utils.flop_counter import FlopCounterMode

from ..checkpoints import ROLES
from ..models import Networks, predict, project_bank, read_pose
from ..models.stable_diffusion import LATENT_SHAPE, POSE, SIDE, TEXT_SHAPE, UNET
from ..sampling import (
    Control,
    DenoisingInputs,
    EncodedReference,
    EncodedRegions,
    Hints,
    Progress,
    SamplingSettings,
    Shortcuts,
    denoise,
    encode_poses,
    noise_from_latents,
)
from ..sampling.regions import APART
from ..schedule import published_scheduler

FRAMES, STEPS = 16, 50
PUBLISHED = 3124.0
"""GFLOP a frame and step of the published sampler at 512 x 512: it runs every network for every frame."""

NO_SHORTCUTS, FULL = Shortcuts(), Control()
POSES = torch.empty(FRAMES, 3, SIDE, SIDE, device="meta")
LATENTS = torch.empty(LATENT_SHAPE, device="meta")
CONTEXT = torch.empty(TEXT_SHAPE, device="meta")
TIMESTEP = 601  # any: arithmetic does not depend on it
NETWORKS = {
    "UNet2DConditionModel": "unet",
    "AppearanceControlModel": "appearance",
    "PoseControlNet": "pose",
    "PoseEncoder": "pose",
}
"""Name of a module in the counter's tree -> key of the breakdown."""
T = TypeVar("T")


def count_arithmetic() -> dict:
    """Count the work of 16 frames at 512 x 512 in 50 steps with guidance; needs no GPU and no weights.

    Three steps run on the meta device: the first, in which frames share more, counts once; the second and the third,
    which are alike for one person, 49 times together.
    A multiplication and an addition are two operations. Encoding the reference and decoding frames are no part
    of a step and not counted, nor are they in the published figure.
    Returns `gflop_per_frame_step`, `ratio_to_published` (to PUBLISHED), `published_gflop_per_frame_step` (our networks
    called in the published order), `breakdown` (network -> its part of the first, same unit), and the settings.
    """
    networks = full_size_networks()
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


def count_people(people: int, apart: bool = True) -> float:
    """Return the operations of the run of `count_arithmetic` with a reference for each of several people.

    apart: whether they are predicted one by one while the layout forms, see `sampling.Region`.
    """
    networks = full_size_networks()
    if people == 1:
        return float(sum(_count_run(networks).values()))
    weights = torch.full((1, people, *LATENT_SHAPE[-2:]), 1 / people, device="meta")
    references = tuple(EncodedReference(LATENTS) for _ in range(people))
    assert networks.pose is not None
    hint = encode_poses(networks.pose, POSES)
    hints = tuple(Hints.from_encoded(hint, CONTEXT) for _ in references) if apart else ()
    regions = EncodedRegions(references, weights, (None,) * people, hints)
    return float(sum(_count_run(networks, regions).values()))


def _count_run(networks: Networks, reference: EncodedReference | EncodedRegions | None = None) -> Counter:
    """Return the operations of a whole run, network -> number. reference: one picture by default."""
    ends: list[Counter] = []

    def at_end_of_step(progress: Progress) -> None:
        if progress.frame == progress.frames:
            ends.append(_by_network(counter))

    assert networks.pose is not None
    with FlopCounterMode(display=False) as counter:
        hints = encode_poses(networks.pose, POSES)
    encoding = _by_network(counter)
    with FlopCounterMode(display=False) as counter:
        inputs = DenoisingInputs(
            noise_from_latents(LATENTS),
            FRAMES,
            CONTEXT,
            reference=reference or EncodedReference(LATENTS),
            hints=Hints.from_encoded(hints, CONTEXT),
        )
        settings = SamplingSettings(3, 7.0, frames_per_batch=FRAMES)
        denoise(networks, published_scheduler(), settings, inputs, at_end_of_step)
    second, third = ends[1] - ends[0], ends[2] - ends[1]
    apart = round(APART * STEPS)  # the first two of the three are in this part of the steps, where there is one
    total = encoding + ends[0]
    for step, times in ((second, apart - 1), (third, STEPS - apart)):
        total += Counter({name: flop * times for name, flop in step.items()})
    return total


def _count_published(networks: Networks) -> int:
    """Return the operations of one frame and step in the published order: nothing shared, the pose read twice."""
    pose, timestep = POSES[:1], torch.tensor(TIMESTEP)
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
    """Operations of single calls at one size.

    plain, controlled: of the UNet for a frame, without and with the controls. reference: of the Appearance Control
    Model and the projection of its bank. pose: of the Pose ControlNet for a frame. encoding: of a frame's pose map.
    """

    plain: float
    controlled: float
    reference: float
    pose: float
    encoding: float

    def of_run(self, frames: int, steps: int, shortcuts: Shortcuts = NO_SHORTCUTS, pose: Control = FULL) -> float:
        """Return the operations of a run with guidance in which all frames share one noise.

        The unconditional prediction of the first step is then the same for all frames and computed once.
        """
        total, last_reading, last_pose = frames * self.encoding, None, None
        for step in range(steps):
            total += frames * self.controlled
            if shortcuts.guided(step, steps):
                total += (frames if step else 1) * self.plain
            if shortcuts.read_at(step) != last_reading:
                last_reading = shortcuts.read_at(step)
                total += self.reference
            if pose.at(step, steps) and step // shortcuts.pose_every != last_pose:
                last_pose = step // shortcuts.pose_every
                total += frames * self.pose
        return total


@torch.no_grad()
def count_costs(
    networks: Networks, poses: torch.Tensor = POSES, latents: torch.Tensor = LATENTS, context: torch.Tensor = CONTEXT
) -> Costs:
    """Count one call of each network for pose maps `[F, 3, H, W]`; latents: `[1, 4, h, w]`, also the reference's."""
    timestep, frames = torch.tensor(TIMESTEP), len(poses)
    rows, counts = latents.expand(frames, -1, -1, -1), []

    def counted(call: Callable[[], T]) -> T:
        with FlopCounterMode(display=False) as counter:
            result = call()
        counts.append(counter.get_total_flops())
        return result

    assert (pose := networks.pose) is not None and (appearance := networks.appearance) is not None
    hints = counted(lambda: encode_poses(pose, poses))
    source = counted(lambda: project_bank(networks.unet, appearance(latents, timestep, context)))
    residuals = counted(lambda: read_pose(networks, rows, timestep, context, hints))
    counted(lambda: predict(networks, rows, timestep, context))
    counted(lambda: predict(networks, rows, timestep, context, source, residuals))
    encoding, reference, residual, plain, controlled = counts
    return Costs(plain / frames, controlled / frames, reference, residual / frames, encoding / frames)


def full_size_networks() -> Networks:
    """Return the networks that sample, in the published size and without weights."""
    configurations = {"unet": UNET, "appearance": UNET, "pose": POSE}
    return Networks(**{role: ROLES[role].build(config) for role, config in configurations.items()})


def _by_network(counter: FlopCounterMode) -> Counter:
    counts: Counter = Counter()
    for module, operations in counter.get_flop_counts().items():
        if module in NETWORKS:
            counts[NETWORKS[module]] += sum(operations.values())
    # The UNet's layers called from outside of it project keys and values of the reference.
    counts["bank"] = counter.get_total_flops() - counts.total()
    return counts
