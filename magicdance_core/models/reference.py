"""Reading the reference at a timestep: what all frames of a step share, whoever samples them."""

from dataclasses import dataclass

from diffusers import UNet2DConditionModel
from torch import Tensor

from .appearance import AppearanceControlModel
from .attention import Bank, ReferenceSource, project_bank


@dataclass(frozen=True)
class ReferenceReader:
    """Pictures, and the network that reads them at any timestep; it knows of no frame, no UNet and no loop.

    network: the Appearance Control Model. latents: clean scaled latents `[R, 4, h, w]` where the network computes.
    per_person: so many consecutive rows are pictures of one person, whose tokens stand in one row.
    """

    network: AppearanceControlModel
    latents: Tensor
    per_person: int = 1

    def bank(self, timestep: Tensor | int, context: Tensor) -> Bank:
        """What a UNet's self-attention is to see besides its own tokens: block name -> `[R / n, n * T, C]`.

        timestep: a number or `[R]`. context: `[1 or R, 77, C]`. n is `per_person`.
        """
        bank = self.network(self.latents, timestep, context)
        return {
            name: tokens.reshape(-1, self.per_person * tokens.shape[1], tokens.shape[2])
            for name, tokens in bank.items()
        }

    def source(
        self, unet: UNet2DConditionModel, timestep: Tensor | int, context: Tensor, strength: float = 1.0
    ) -> ReferenceSource | None:
        """The bank, projected by the UNet that attends to it; None, and nothing is read, for strength 0."""
        if strength == 0.0:
            return None
        return project_bank(unet, self.bank(timestep, context), strength)
