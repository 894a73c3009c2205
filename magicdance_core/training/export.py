"""From the networks of a run to the folder that a pipeline loads."""

from pathlib import Path

import torch
from diffusers import DDIMScheduler

from ..checkpoints.folder import Components, save_folder
from .config import TrainingConfig
from .networks import TrainingNetworks


def export(config: TrainingConfig, networks: TrainingNetworks, folder: Path, dtype: torch.dtype | None = None) -> None:
    """Save trained networks in diffusers' folder layout, with the published DDIM schedule."""
    scheduler = DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        timestep_spacing="leading",
        prediction_type=config.prediction_type,
    )
    components = Components(
        unet=networks.unet,
        vae=networks.vae,
        appearance=networks.appearance,
        pose=networks.pose,
        scheduler=scheduler,
        text_encoder=None,
        context=torch.zeros(1, *config.context),
        defaults=config.defaults,
    )
    save_folder(folder, components, dtype)
