"""The Pose ControlNet (paper section 4.2): pose maps to residuals for the denoising UNet."""

import functools
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from diffusers import ControlNetModel
from torch import Tensor, nn

from .attention import use_source_attention


@dataclass(frozen=True)
class PoseResiduals:
    """Residuals `[B, C, h, w]`: `down` for each skip connection of the UNet, `mid` for its middle block."""

    down: tuple[Tensor, ...]
    mid: Tensor


class PoseEncoder(nn.Module):
    """ControlNet's hint encoder, which returns already encoded hints unchanged."""

    def __init__(self, encoder: Any):
        super().__init__()
        self.conv_in, self.blocks, self.conv_out = encoder.conv_in, encoder.blocks, encoder.conv_out

    def forward(self, maps: Tensor) -> Tensor:
        if maps.shape[1] == self.conv_out.out_channels:
            return maps
        x = F.silu(self.conv_in(maps))
        for block in self.blocks:
            x = F.silu(block(x))
        return self.conv_out(x)


class PoseControlNet(ControlNetModel):
    """diffusers' ControlNet that also takes encoded pose maps, so that they are encoded once, not at every step."""

    @functools.wraps(ControlNetModel.__init__)  # diffusers reads its configuration off this signature
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.controlnet_cond_embedding = PoseEncoder(self.controlnet_cond_embedding)
        use_source_attention(self)

    @property
    def pose_scale_factor(self) -> int:
        """Return the side of a pose map divided by the side of its latent."""
        return 2 ** (len(self.config.conditioning_embedding_out_channels) - 1)

    def encode_pose(self, maps: Tensor) -> Tensor:
        """Encode pose maps `[F, 3, H, W]`, RGB in [0, 1], to hints `[F, C, H / 8, W / 8]` for all steps."""
        return self.controlnet_cond_embedding(maps)

    def forward(
        self,
        sample: Tensor,
        timestep: Tensor | int,
        encoder_hidden_states: Tensor,
        hints: Tensor,
        strength: float = 1.0,
    ) -> PoseResiduals:
        """Return the residuals for noisy latents `[F, 4, h, w]` and as many hints or pose maps."""
        down, mid = super().forward(
            sample, timestep, encoder_hidden_states, hints, conditioning_scale=strength, return_dict=False
        )
        return PoseResiduals(tuple(down), mid)
