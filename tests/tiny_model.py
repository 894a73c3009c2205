"""A model of a few thousand weights."""

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel

from magicdance_core.checkpoints import Components
from magicdance_core.models import AppearanceControlModel, PoseControlNet, use_source_attention
from magicdance_core.schedule import published_scheduler


def tiny_components(prediction_type: str = "epsilon", seed: int = 0) -> Components:
    """A model in which every weight is random and no branch is silent: two levels, VAE factor 4."""
    torch.manual_seed(seed)
    shared = {
        "block_out_channels": (16, 32),
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "layers_per_block": 1,
        "norm_num_groups": 8,
        "attention_head_dim": 4,
        "cross_attention_dim": 12,
    }
    config = {**shared, "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"), "sample_size": 8}
    components = Components(
        unet=UNet2DConditionModel(**config),
        vae=AutoencoderKL(
            block_out_channels=(8, 8, 8),
            down_block_types=("DownEncoderBlock2D",) * 3,
            up_block_types=("UpDecoderBlock2D",) * 3,
            norm_num_groups=4,
            latent_channels=4,
        ),
        appearance=AppearanceControlModel(**config),
        pose=PoseControlNet(**shared, conditioning_embedding_out_channels=(8, 8, 16)),
        scheduler=published_scheduler(prediction_type),
        text_encoder=None,
        context=torch.randn(1, 3, 12),
        defaults={"num_inference_steps": 4, "guidance_scale": 2.0, "sample_size": 32},
    )
    use_source_attention(components.unet)
    for network in (components.unet, components.vae, components.appearance, components.pose):
        network.eval()
    for name, weight in components.pose.named_parameters():
        if "controlnet_" in name:  # zero in a new ControlNet
            torch.nn.init.normal_(weight, std=0.2)
    return components
