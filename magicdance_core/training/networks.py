"""The networks of a training run, built without weights from its configuration."""

from dataclasses import dataclass

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import nn

from ..models import AppearanceControlModel, Networks, PoseControlNet, use_source_attention
from .config import TrainingConfig


@dataclass
class TrainingNetworks:
    """All networks of a run, by the names that a stage uses."""

    vae: AutoencoderKL
    unet: UNet2DConditionModel
    appearance: AppearanceControlModel
    pose: PoseControlNet

    def by_name(self) -> dict[str, nn.Module]:
        return {"vae": self.vae, "unet": self.unet, "appearance": self.appearance, "pose": self.pose}

    @property
    def denoiser(self) -> Networks:
        return Networks(self.unet, self.appearance, self.pose)


def build_networks(config: TrainingConfig) -> TrainingNetworks:
    """Seeded, randomly initialised networks; residual branches start at zero, as identities."""
    torch.manual_seed(config.seed)
    vae = AutoencoderKL(**config.networks["vae"])
    unet = UNet2DConditionModel(**config.networks["unet"])
    use_source_attention(unet)
    for network in (vae, unet):
        silence_residual_branches(network)
    pose = PoseControlNet.from_unet(unet, conditioning_embedding_out_channels=config.networks["pose_channels"])
    networks = TrainingNetworks(vae, unet, AppearanceControlModel(**config.networks["unet"]), pose)
    start_from_unet(networks, ["appearance"])
    return networks


def silence_residual_branches(network: nn.Module) -> None:
    """Zero the last layer of every residual block and transformer: depth then costs no signal at the start."""
    for name, module in network.named_modules():
        if name.endswith((".conv2", ".proj_out")):
            nn.init.zeros_(module.weight)
            nn.init.zeros_(module.bias)


def start_from_unet(networks: TrainingNetworks, names: list[str]) -> None:
    """Copy the UNet's weights into the named networks, wherever both have a tensor of that name.

    The appearance network lacks the UNet's end; the pose network has the UNet's first half, and keeps its own
    pose encoder and zero convolutions (paper section 4.3).
    """
    source = networks.unet.state_dict()
    for name in names:
        network = networks.by_name()[name]
        network.load_state_dict({k: v for k, v in source.items() if k in network.state_dict()}, strict=False)
