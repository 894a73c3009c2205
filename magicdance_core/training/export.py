"""From the networks of a run to the file that a pipeline loads."""

from pathlib import Path

import torch

from ..checkpoints import Components, save_published
from ..schedule import published_scheduler
from .config import TrainingConfig
from .networks import TrainingNetworks


def export(config: TrainingConfig, networks: TrainingNetworks, path: Path, dtype: torch.dtype | None = None) -> None:
    """Save trained networks as one safetensors file in the published layout, with the published DDIM schedule."""
    components = Components(
        unet=networks.unet,
        vae=networks.vae,
        appearance=networks.appearance,
        pose=networks.pose,
        scheduler=published_scheduler(config.prediction_type),
        text_encoder=None,
        context=torch.zeros(1, *config.context),
        defaults=config.defaults,
    )
    save_published(path, components, dtype)
