"""Networks in the keeping of ComfyUI's memory management, and its choice of dtypes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from comfy.model_patcher import ModelPatcher
    from torch import Tensor, nn

    from ...magicdance_core.checkpoints import Lora
    from ...magicdance_core.sampling import Phase
    from ..model import MagicDanceModel

DETECTOR_MEMORY = 2.0**29  # bytes of activations that a pose detector needs for a picture
PUBLISHED_PARAMETERS = 2_081_000_000  # of UNet, Appearance Control Model and Pose ControlNet together


def storage_dtypes() -> dict[str, torch.dtype]:
    """In which dtypes ComfyUI wants networks stored, by role; the text tower stays exact."""
    import comfy.model_management as mm
    import torch

    from ...magicdance_core.checkpoints import ROLES

    unet = mm.unet_dtype(mm.get_torch_device(), model_params=PUBLISHED_PARAMETERS)
    vae = mm.vae_dtype(mm.vae_device(), [torch.bfloat16])
    return dict.fromkeys(ROLES, unet) | {"vae": vae, "text_encoder": torch.float32}


def hold(network: nn.Module, role: str) -> ModelPatcher:
    """A network in ComfyUI's keeping: moved, offloaded and loaded in part as its memory management decides.

    The layers become ComfyUI's, which fetch weights that lie elsewhere. `held.model.inner` is the network,
    `held.load_device` and `held.model.compute_dtype` are where and in which dtype it computes.
    """
    import comfy.model_management as mm
    import comfy.ops
    from comfy.model_patcher import ModelPatcher

    _adopt_layers(network, comfy.ops.manual_cast)
    if role == "vae":
        device, offload = mm.vae_device(), mm.vae_offload_device()
        compute = None
    else:
        device, offload = mm.get_torch_device(), mm.unet_offload_device()
        compute = mm.unet_manual_cast(_dtype(network), device)
    holder = _holder()(network, compute or _dtype(network))
    return ModelPatcher(holder, load_device=device, offload_device=offload)


def network(held: ModelPatcher) -> nn.Module:
    return held.model.inner


def place(held: ModelPatcher) -> tuple[torch.device, torch.dtype]:
    """Where and in which dtype a network computes, wherever its weights happen to be."""
    return held.load_device, held.model.compute_dtype


def with_lora(held: ModelPatcher, lora: Lora, strength: float) -> ModelPatcher:
    """The same network with a LoRA, which ComfyUI adds while the network is loaded and takes back afterwards.

    Raises InputError where it does not fit.
    """
    import comfy.lora

    lora.check_fits(network(held))
    halves, targets = {}, {}
    for name, (up, down) in lora.pairs.items():
        halves |= {f"{name}.lora_up.weight": up, f"{name}.lora_down.weight": down}
        targets[name] = f"inner.{name}"
    changed = held.clone()
    changed.add_patches(comfy.lora.load_lora(halves, targets), strength)
    return changed


def load(held: Sequence[ModelPatcher], activations: float) -> None:
    """Have all these networks at hand at once, with room for `activations` bytes."""
    import comfy.model_management as mm

    mm.load_models_gpu(list(held), memory_required=activations)


def load_phase(model: MagicDanceModel, phase: Phase) -> None:
    """Have the networks at hand that a run needs next, with room for what they compute."""
    from ...magicdance_core.sampling.memory import denoising_memory

    held = [getattr(model, role) for role in phase.roles]
    estimate = vae_memory if phase.roles[0] == "vae" else denoising_memory
    load(held, estimate(phase.batch, phase.height * phase.width, place(held[0])[1]))


def fits_both_halves(model: MagicDanceModel, frames: int, shape: Sequence[int]) -> bool:
    """Whether both halves of guidance may go through the UNet together: on a GPU that holds all networks and twice what
    a batch of so many frames takes. shape: of a latent, `(1, 4, h, w)`."""
    import comfy.model_management as mm

    from ...magicdance_core.sampling.memory import denoising_memory

    device, dtype = place(model.unet)
    if device.type != "cuda":
        return False
    networks = sum(held.model_size() for held in (model.unet, model.appearance, model.pose, model.motion) if held)
    return mm.get_total_memory(device) > networks + 2 * denoising_memory(2 * frames, shape[-2] * shape[-1], dtype)


def vae_memory(pictures: int, pixels: int, dtype: torch.dtype) -> float:
    """Bytes that the VAE needs for a batch; ComfyUI's estimate for its decoder."""
    return 2178.0 * pictures * pixels * dtype.itemsize


def output(tensor: Tensor) -> Tensor:
    """A result where ComfyUI wants results to be."""
    import comfy.model_management as mm

    return tensor.to(mm.intermediate_device())


@cache
def _holder() -> type[nn.Module]:
    from torch import nn

    class MagicDanceNetwork(nn.Module):
        """diffusers' own modules have a read-only `device`, which ComfyUI assigns."""

        def __init__(self, inner: nn.Module, compute_dtype: torch.dtype):
            super().__init__()
            self.inner, self.device, self.compute_dtype = inner, None, compute_dtype

    return MagicDanceNetwork


def _adopt_layers(network: nn.Module, ops) -> None:
    from torch import nn

    kinds = {nn.Linear: ops.Linear, nn.Conv2d: ops.Conv2d, nn.GroupNorm: ops.GroupNorm, nn.LayerNorm: ops.LayerNorm}
    for module in network.modules():
        if type(module) in kinds:
            module.__class__ = kinds[type(module)]


def _dtype(network: nn.Module) -> torch.dtype:
    return next(network.parameters()).dtype
