"""Networks under ComfyUI's memory management, and its choice of dtypes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from comfy.model_patcher import ModelPatcher
    from diffusers import ModelMixin, SchedulerMixin
    from torch import Tensor, nn

    from ...magicdance_core.checkpoints import Components, Lora
    from ...magicdance_core.sampling import Phase, Placement
    from ..link_types import MagicDanceModel

DETECTOR_MEMORY = 2.0**29  # bytes of activations of a pose detector for one picture
PUBLISHED_PARAMETERS = 2_081_000_000  # of UNet, Appearance Control Model and Pose ControlNet together


def storage_dtypes() -> dict[str, torch.dtype]:
    """Return the dtypes in which ComfyUI wants networks stored: role -> dtype. The text encoder stays float32."""
    import comfy.model_management as mm
    import torch

    from ...magicdance_core.checkpoints import ROLES

    unet = mm.unet_dtype(mm.get_torch_device(), model_params=PUBLISHED_PARAMETERS)
    vae = mm.vae_dtype(mm.vae_device(), [torch.bfloat16])
    return dict.fromkeys(ROLES, unet) | {"vae": vae, "text_encoder": torch.float32}


def hold(network: nn.Module, role: str) -> ModelPatcher:
    """Put a network under ComfyUI's memory management, which loads it, offloads it, or loads it in part.

    Its layers are replaced by ComfyUI's, which cast weights and move offloaded ones when they compute.
    `network` and `device_and_dtype` take the result.
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


def is_held(value: object) -> bool:
    """Return whether a value is a result of `hold`."""
    return isinstance(getattr(value, "model", None), _holder())


def network(held: ModelPatcher) -> ModelMixin:
    """Return the network that was given to `hold`."""
    return held.model.inner


def device_and_dtype(held: ModelPatcher) -> tuple[torch.device, torch.dtype]:
    """Return the device and dtype in which a network computes, wherever its weights are."""
    return held.load_device, held.model.compute_dtype


def with_lora(held: ModelPatcher, lora: Lora, strength: float) -> ModelPatcher:
    """Return a clone of a network with a LoRA, which ComfyUI adds on loading and removes on unloading.

    Raises InputError if the LoRA does not fit.
    """
    lora.check_fits(network(held))
    return _patched(held, lora.pairs, strength)


def with_face_loras(model: MagicDanceModel) -> MagicDanceModel:
    """Return a model with the LoRAs of its face pass, as `with_lora` adds them; the model itself without any."""
    from ...magicdance_core.checkpoints import weight_changes

    if not model.face_loras or model.appearance is None or model.pose is None:
        return model
    given = components(model, model.scheduler, model.context)
    for file in model.face_loras:
        for role, changes in weight_changes(file, given).items():
            pairs = {name: (factor * up, down) for name, (up, down, factor) in changes.items()}
            model = replace(model, **{role: _patched(getattr(model, role), pairs, 1.0)})
    return model


def _patched(held: ModelPatcher, pairs: Mapping[str, tuple[Tensor, Tensor]], strength: float) -> ModelPatcher:
    """Return a clone of a network with low-rank changes: name of a weight -> up and down."""
    import comfy.lora

    tensors, targets = {}, {}
    for name, (up, down) in pairs.items():
        tensors |= {f"{name}.lora_up.weight": up, f"{name}.lora_down.weight": down}
        targets[name] = f"inner.{name}"
    changed = held.clone()
    changed.add_patches(comfy.lora.load_lora(tensors, targets), strength)
    return changed


def load(held: Sequence[ModelPatcher], activations: float) -> None:
    """Load networks together, with room for `activations` bytes."""
    import comfy.model_management as mm

    mm.load_models_gpu(list(held), memory_required=activations)


def components(model: MagicDanceModel, scheduler: SchedulerMixin, prompt: Tensor | None) -> Components:
    """Return the components of a model for a run. prompt: replaces the empty prompt if the model has no CLIP.

    Raises InputError if there is neither.
    """
    from ...magicdance_core.checkpoints import Components
    from ...magicdance_core.errors import InputError

    context = prompt if model.context is None else model.context
    if context is None:
        raise InputError("The model has no prompt: connect one to `positive`, or a CLIP to MagicDance from MODEL.")
    held = {role: getattr(model, role) for role in ("unet", "vae", "appearance", "pose", "motion")}
    networks = {role: None if patcher is None else network(patcher) for role, patcher in held.items()}
    return Components(scheduler=scheduler, context=context, defaults=dict(model.defaults), **networks)


def placement(model: MagicDanceModel) -> Placement:
    """Return where a model's networks compute; ComfyUI's memory management loads those of each phase."""
    from ...magicdance_core.sampling import Placement
    from ...magicdance_core.sampling.reference import denoising_bytes

    def load_phase(phase: Phase) -> None:
        held = [getattr(model, role) for role in phase.roles]
        estimate = vae_memory if phase.roles[0] == "vae" else denoising_bytes
        load(held, estimate(phase.batch, phase.height * phase.width, device_and_dtype(held[0])[1]))

    return Placement(
        device_and_dtype(model.unet), device_and_dtype(model.vae), load_phase, partial(fits_batched_guidance, model)
    )


def fits_batched_guidance(model: MagicDanceModel, frames: int, latent_pixels: int) -> bool:
    """Return whether a GPU holds all networks and twice what a batch of both predictions needs."""
    import comfy.model_management as mm

    from ...magicdance_core.sampling.reference import denoising_bytes

    device, dtype = device_and_dtype(model.unet)
    if device.type != "cuda":
        return False
    networks = sum(held.model_size() for held in (model.unet, model.appearance, model.pose, model.motion) if held)
    return mm.get_total_memory(device) > networks + 2 * denoising_bytes(2 * frames, latent_pixels, dtype)


def vae_memory(pictures: int, pixels: int, dtype: torch.dtype) -> float:
    """Return the bytes that the VAE needs for a batch, by ComfyUI's estimate for its decoder."""
    return 2178.0 * pictures * pixels * dtype.itemsize


def output(tensor: Tensor) -> Tensor:
    """Move a node's result to the device where ComfyUI wants results."""
    import comfy.model_management as mm

    return tensor.to(mm.intermediate_device())


@cache
def _holder() -> type[nn.Module]:
    from torch import nn

    class MagicDanceNetwork(nn.Module):
        """Holder of a diffusers network, whose own `device` is read-only; ComfyUI assigns it."""

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
