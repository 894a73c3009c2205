"""Combine the networks: the UNet's prediction with and without its controls."""

from dataclasses import dataclass

from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor

from .appearance import AppearanceControlModel, ReferenceReader
from .attention import ReferenceSource
from .motion_module import MotionModule, apply_motion
from .pose_controlnet import PoseControlNet, PoseResiduals


@dataclass(frozen=True)
class Networks:
    """The denoising UNet and its optional controls.

    The UNet must have `SourceAttention` processors (`models.attention.use_source_attention`).
    """

    unet: UNet2DConditionModel
    appearance: AppearanceControlModel | None = None
    pose: PoseControlNet | None = None
    motion: MotionModule | None = None

    def roles(self) -> tuple[str, ...]:
        """Return the names of the networks that are not None."""
        return tuple(name for name, network in vars(self).items() if network is not None)


def vae_scale_factor(vae: AutoencoderKL) -> int:
    """Return the side of a picture divided by the side of its latent: 8 as published."""
    return 2 ** (len(vae.config.block_out_channels) - 1)


def size_multiple(unet: UNet2DConditionModel, vae: AutoencoderKL) -> int:
    """Return the number that the sides of a picture should be multiples of, for the UNet: 64 as published."""
    return vae_scale_factor(vae) * 2 ** (len(unet.config.block_out_channels) - 1)


def read_reference(
    networks: Networks,
    reference: Tensor,
    timestep: Tensor | int,
    context: Tensor,
    strength: float = 1.0,
) -> ReferenceSource | None:
    """Run the appearance network on clean latents `[R, 4, h, w]` of R people, if there is one and strength is not 0.

    timestep: a number or `[R]`. context: `[1 or R, 77, C]`.
    """
    if networks.appearance is None:
        return None
    return ReferenceReader(networks.appearance, reference).source(networks.unet, timestep, context, strength)


def read_pose(
    networks: Networks,
    latents: Tensor,
    timestep: Tensor | int,
    context: Tensor,
    hints: Tensor | None,
    strength: float = 1.0,
) -> PoseResiduals | None:
    """Run the Pose ControlNet on noisy latents `[F, 4, h, w]` and hints or pose maps, unless strength is 0."""
    if networks.pose is None or hints is None or strength == 0.0:
        return None
    return networks.pose(latents, timestep, context, hints, strength)


def predict(
    networks: Networks,
    latents: Tensor,
    timestep: Tensor | int,
    context: Tensor,
    source: ReferenceSource | None = None,
    residuals: PoseResiduals | None = None,
    motion: float = 0.0,
    frames: int | None = None,
) -> Tensor:
    """Return the UNet's prediction `[F, 4, h, w]` (noise or velocity) for noisy latents of the same shape.

    motion: scale of the motion module. frames: number of consecutive rows that are one clip, by default all.
    Without `source`, `residuals` and `motion` this is exactly the prediction of Stable Diffusion.
    """
    with apply_motion(networks.unet, networks.motion, frames or len(latents), motion):
        return networks.unet(
            latents,
            timestep,
            context,
            cross_attention_kwargs=None if source is None else {"source": source},
            down_block_additional_residuals=None if residuals is None else residuals.down,
            mid_block_additional_residual=None if residuals is None else residuals.mid,
            return_dict=False,
        )[0]
