"""Speed of this machine: sampling with random weights in real shapes, beside what its matrix products reach."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import psutil
import torch
from diffusers import ModelMixin
from torch import Tensor, nn

from ..checkpoints import ROLES, Components
from ..models import Networks, stable_diffusion
from ..models.compilation import compile_blocks
from ..models.stable_diffusion import VAE_FACTOR
from ..sampling import Progress, SamplingSettings, prepare, run
from ..schedule import published_scheduler
from .arithmetic import count_costs

GUIDANCE = 1.5  # small enough for random networks to stay finite
REPEATS, MAX_AT_ONCE = 5, 16
SAMPLING_ROLES = ("unet", "appearance", "pose", "vae")


@dataclass(frozen=True)
class Shapes:
    """Configurations of the networks. side: of the pictures, in pixels; matrix: of the matrices, for the ceiling."""

    unet: dict
    pose: dict
    vae: dict
    side: int
    matrix: int


_SMALL = stable_diffusion.ENCODER | {
    "block_out_channels": [32, 64],
    "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"],
    "layers_per_block": 1,
    "cross_attention_dim": 32,
    "attention_head_dim": 4,
}
SHAPES = {
    "full": Shapes(stable_diffusion.UNET, stable_diffusion.POSE, stable_diffusion.VAE, stable_diffusion.SIDE, 8192),
    "small": Shapes(
        _SMALL | {"up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"]},
        _SMALL | {"conditioning_embedding_out_channels": list(stable_diffusion.POSE_CHANNELS)},
        stable_diffusion.VAE | {"block_out_channels": [32, 32, 32, 32], "layers_per_block": 1},
        64,
        256,
    ),
}
"""The published model's, and those of one that a CPU runs in seconds."""


def measure_speed(
    device: torch.device,
    dtype: torch.dtype,
    frames: Sequence[int] = (16,),
    steps: int = 4,
    size: str = "full",
    compiled: bool = False,
) -> dict:
    """Sample videos of the given numbers of frames; needs no files.

    Returns device, dtype, size, steps, compiled (as given); ceiling, TFLOP a second of a matrix product, the best of
    REPEATS; with `compiled` compile_seconds, what the first run took longer than the second; and runs, for each length:
    frames; first_frame, seconds until the first frames were decoded; seconds, of denoising; frames_a_second, of
    denoising; of_ceiling, the speed as a part of the ceiling; megabytes, peak memory of a CUDA device, else of the
    process.
    """
    shapes = SHAPES[size]
    built = {
        role: ROLES[role].build(getattr(shapes, "unet" if role == "appearance" else role)) for role in SAMPLING_ROLES
    }
    inputs = _inputs(shapes, MAX_AT_ONCE)
    on_meta = Networks(built["unet"], built["appearance"], built["pose"])
    costs = count_costs(on_meta, *(inputs[name].to("meta") for name in ("poses", "noise", "context")))
    filled = {role: _filled(network, device, dtype) for role, network in built.items()}
    model = Components(scheduler=published_scheduler(), context=inputs["context"], **filled)
    if compiled:
        for role in ("unet", "pose"):
            compile_blocks(filled[role])
    ceiling = _ceiling(device, dtype, shapes.matrix)

    def measure(number: int) -> dict:
        inputs, memory, start = _inputs(shapes, number), _Memory(device), time.perf_counter()
        settings, ready = prepare(
            model,
            SamplingSettings(steps, GUIDANCE, frames_per_batch=MAX_AT_ONCE),
            inputs["reference"],
            inputs["poses"],
            number,
            latents=inputs["noise"],
        )
        sample = run(model, settings, ready, inputs["poses"], callback=memory.sample)
        _finish(device)
        seconds = time.perf_counter() - start
        next(sample.frames)
        return {
            "frames": number,
            "first_frame": time.perf_counter() - start,
            "seconds": seconds,
            "frames_a_second": number / seconds,
            "of_ceiling": costs.of_run(number, steps) / ceiling / seconds,
            "megabytes": memory.peak() / 1e6,
        }

    first = measure(frames[0])  # kernels are chosen, memory is reserved, blocks are compiled
    rows = [measure(number) for number in frames]
    report: dict = {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "dtype": str(dtype).removeprefix("torch."),
        "size": size,
        "steps": steps,
        "compiled": compiled,
        "ceiling": ceiling / 1e12,
    }
    if compiled:
        report["compile_seconds"] = first["seconds"] - rows[0]["seconds"]
    return report | {"runs": rows}


def _inputs(shapes: Shapes, frames: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    side = shapes.side
    return {
        "reference": torch.rand(1, 3, side, side, generator=generator),
        "poses": torch.rand(frames, 3, side, side, generator=generator),
        "noise": torch.randn(1, 4, side // VAE_FACTOR, side // VAE_FACTOR, generator=generator),
        "context": torch.randn(1, 77, shapes.unet["cross_attention_dim"], generator=generator),
    }


@torch.no_grad()
def _filled(network: ModelMixin, device: torch.device, dtype: torch.dtype) -> ModelMixin:
    """Give a network that was built without weights random ones that keep values finite, and return it."""
    network = nn.Module.to(network, dtype).to_empty(device=device).eval().requires_grad_(False)
    generator = torch.Generator(device).manual_seed(0)
    for name, weight in network.named_parameters():
        if weight.dim() > 1:
            weight.normal_(0, weight[0].numel() ** -0.5, generator=generator)
        else:
            weight.fill_(0.0 if name.endswith("bias") else 1.0)
    return network.to(memory_format=torch.channels_last) if device.type == "cuda" else network


def _ceiling(device: torch.device, dtype: torch.dtype, side: int) -> float:
    """Return the operations a second of a product of two square matrices."""
    matrix, best = torch.full((side, side), 1 / side, device=device, dtype=dtype), float("inf")
    for _ in range(REPEATS):
        _finish(device)
        start = time.perf_counter()
        matrix @ matrix
        _finish(device)
        best = min(best, time.perf_counter() - start)
    return 2 * side**3 / best


def _finish(device: torch.device) -> None:
    """Wait until the device has finished its queue."""
    if device.type in ("cuda", "mps"):
        getattr(torch, device.type).synchronize()


class _Memory:
    """Peak memory in bytes since the beginning: of a CUDA device, else of the process, sampled at each step."""

    def __init__(self, device: torch.device):
        self._device, self._peak = device, 0
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)

    def sample(self, progress: Progress) -> None:
        if self._device.type != "cuda":
            self._peak = max(self._peak, psutil.Process().memory_info().rss)

    def peak(self) -> int:
        return torch.cuda.max_memory_allocated(self._device) if self._device.type == "cuda" else self._peak
