"""The Appearance Control Model (paper section 4.1): a UNet that records the reference's self-attention inputs."""

import functools
from dataclasses import dataclass

from diffusers import UNet2DConditionModel
from torch import Tensor, nn

from .attention import Bank, ReferenceSource, project_bank, self_attention_blocks, use_source_attention


class Unused(nn.Module):
    """Stands where a layer's output can no longer reach a record: costs and holds nothing."""

    def forward(self, hidden_states: Tensor, *args, **kwargs) -> Tensor:
        return hidden_states


class Record:
    """Puts what a forward hook sees into a bank. It knows nothing of the network, which a hook that is one of its own
    methods would keep in memory until the garbage collector comes by."""

    def __init__(self):
        self.bank: Bank | None = None

    def __call__(self, name: str, module: nn.Module, args: tuple, output: Tensor) -> None:
        # There is no bank while gradient checkpointing recomputes a block: it was recorded already.
        if self.bank is not None:
            self.bank[name] = output


class AppearanceControlModel(UNet2DConditionModel):
    """A UNet without anything behind its last self-attention record.

    It takes the configuration of the UNet that it was copied from. Each transformer block records
    `norm1(x)`, the input of its self-attention; with SD 1.5 these are 16 records, middle block included.
    Weights behind the last record never influence a record, so they are not kept (published checkpoints
    hold them untrained).
    """

    @functools.wraps(UNet2DConditionModel.__init__)  # diffusers reads its configuration off this signature
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._cut_behind_last_record()
        use_source_attention(self)
        self._record = Record()
        for name, block in self_attention_blocks(self).items():
            block.norm1.register_forward_hook(functools.partial(self._record, name))

    def _cut_behind_last_record(self) -> None:
        while not getattr(self.up_blocks[-1], "has_cross_attention", False):
            del self.up_blocks[-1]
        self.up_blocks[-1].upsamplers = None
        transformer = self.up_blocks[-1].attentions[-1]
        block = transformer.transformer_blocks[-1]
        block.attn1, block.attn2, block.ff = Unused(), Unused(), Unused()
        block.norm2, block.norm3 = Unused(), Unused()
        transformer.proj_out = Unused()
        self.conv_norm_out, self.conv_act, self.conv_out = None, None, Unused()

    def forward(self, sample: Tensor, timestep: Tensor | int, encoder_hidden_states: Tensor) -> Bank:
        """Record the self-attention inputs of the reference.

        sample: clean reference latents `[R, 4, h, w]`, scaled. timestep: the one of the frames being
        denoised, a number or `[R]`. encoder_hidden_states: text context `[1 or R, 77, C]`.
        Returns the bank, block name -> `[R, T, C]`, in forward order.
        """
        self._record.bank = bank = {}
        try:
            super().forward(sample, timestep, encoder_hidden_states)
            return bank
        finally:
            self._record.bank = None


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
