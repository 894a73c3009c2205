"""Conversion of ComfyUI's own MODEL, VAE, CLIP and CONTROL_NET from and to tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher
    from torch import Tensor


def prediction_type(model: ModelPatcher) -> str:
    """Return the prediction type of a MODEL: "epsilon" or "v_prediction"."""
    import comfy.model_sampling

    sampling = model.get_model_object("model_sampling")
    return "v_prediction" if isinstance(sampling, comfy.model_sampling.V_PREDICTION) else "epsilon"


def check_family(model: ModelPatcher) -> None:
    """Raise InputError unless a MODEL is Stable Diffusion 1.5 (2.1, SVD and others have the same latent format)."""
    import comfy.supported_models

    from ...magicdance_core.errors import InputError

    family = model.model.model_config
    if not isinstance(family, comfy.supported_models.SD15):
        raise InputError(
            f"The connected MODEL is of the family {type(family).__name__}: connect one of Stable Diffusion 1.5."
        )


def unet_tensors(model: ModelPatcher) -> dict[str, Tensor]:
    """Return the UNet of a MODEL with its LoRAs and merges applied: name in the published layout -> tensor.

    Raises InputError if it is of another family, or an inpainting model with further input channels.
    """
    import comfy.model_management as mm

    from ...magicdance_core.errors import InputError

    check_family(model)
    mm.load_models_gpu([model], force_patch_weights=True)  # as before ComfyUI saves a checkpoint
    tensors = model.model.diffusion_model.state_dict()
    if (channels := tensors["input_blocks.0.0.weight"].shape[1]) != 4:
        raise InputError(
            f"The connected MODEL has {channels} input channels, as for inpainting: connect one with 4, or use "
            "Apply Appearance to MODEL."
        )
    return tensors


def vae_tensors(vae) -> dict[str, Tensor]:
    """Return the tensors of a VAE: name in the published layout -> tensor. Raises InputError for other families."""
    from ...magicdance_core.errors import InputError

    tensors = {name: tensor for name, tensor in vae.get_sd().items() if not name.startswith(("loss.", "model_ema."))}
    known = "encoder.down.0.block.0.conv1.weight" in tensors and "post_quant_conv.weight" in tensors
    if not known or tensors["post_quant_conv.weight"].shape[0] != 4:
        raise InputError("The connected VAE is not one of Stable Diffusion 1.5: connect the checkpoint's VAE.")
    return tensors


def check_encodes_pictures(vae) -> None:
    """Raise InputError unless a VAE turns pictures into latents of 4 channels: those of sound or videos do not."""
    from ...magicdance_core.errors import InputError

    channels, sides = getattr(vae, "latent_channels", 4), getattr(vae, "latent_dim", 2)
    if channels != 4 or sides != 2:
        raise InputError(
            f"The connected VAE has latents of {channels} channels in {sides} dimensions: connect one of Stable "
            "Diffusion 1.5."
        )


def empty_prompt(clip, width: int) -> Tensor:
    """Return the embeddings `[1, 77, width]` of the empty prompt. Raises InputError for a CLIP of another width."""
    import torch

    from ...magicdance_core.errors import InputError

    embeddings = clip.encode_from_tokens(clip.tokenize(""))
    if not isinstance(embeddings, torch.Tensor) or embeddings.dim() != 3 or embeddings.shape[-1] != width:
        raise InputError("The connected CLIP is not the one of Stable Diffusion 1.5: connect the checkpoint's CLIP.")
    return embeddings[:1].float().cpu()


def to_checkpoint(tensors: dict[str, Tensor]) -> tuple:
    """Return MODEL, CLIP and VAE of a checkpoint's tensors; their names have the published layout's prefixes."""
    import comfy.sd
    import folder_paths

    from ...magicdance_core.errors import InputError

    loaded = comfy.sd.load_state_dict_guess_config(
        tensors, embedding_directory=folder_paths.get_folder_paths("embeddings")
    )
    if loaded is None or None in loaded[:3]:
        raise InputError(
            "ComfyUI does not recognize this checkpoint as Stable Diffusion 1.5: use Load MagicDance Checkpoint."
        )
    return loaded[:3]


def to_control_net(tensors: dict[str, Tensor]):
    """Return the CONTROL_NET of a Pose ControlNet's tensors; their names have no prefix."""
    import comfy.controlnet

    return comfy.controlnet.load_controlnet_state_dict(tensors)
