"""The Appearance Control Model (paper section 4.1): a UNet that records its self-attention inputs for the reference."""

import functools
from dataclasses import dataclass

from diffusers import UNet2DConditionModel
from torch import Tensor, nn

from .attention import Bank, ReferenceSource, project_bank, self_attention_blocks, use_source_attention


class RemovedLayer(nn.Module):
    """Replaces a layer whose output no record depends on."""

    def forward(self, hidden_states: Tensor, *args, **kwargs) -> Tensor:
        return hidden_states


class Recorder:
    """Forward hook that puts outputs into a bank.

    A method of the network as its hook would be a reference cycle, which keeps the network in memory until garbage
    collection.
    """

    def __init__(self):
        self.bank: Bank | None = None

    def __call__(self, name: str, module: nn.Module, args: tuple, output: Tensor) -> None:
        # Not while gradient checkpointing recomputes a block, which was recorded already.
        if self.bank is not None:
            self.bank[name] = output


class AppearanceControlModel(UNet2DConditionModel):
    """A UNet that records the input `norm1(x)` of each self-attention: 16 records for Stable Diffusion 1.5.

    It has the configuration of the UNet that it was copied from. Layers behind the last record influence none and are
    removed (published checkpoints contain them untrained).
    """

    @functools.wraps(UNet2DConditionModel.__init__)  # diffusers reads its configuration off this signature
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._remove_layers_behind_last_record()
        use_source_attention(self)
        self._recorder = Recorder()
        for name, block in self_attention_blocks(self).items():
            block.norm1.register_forward_hook(functools.partial(self._recorder, name))

    def _remove_layers_behind_last_record(self) -> None:
        while not getattr(self.up_blocks[-1], "has_cross_attention", False):
            del self.up_blocks[-1]
        self.up_blocks[-1].upsamplers = None
        transformer = self.up_blocks[-1].attentions[-1]
        block = transformer.transformer_blocks[-1]
        block.attn1, block.attn2, block.ff = RemovedLayer(), RemovedLayer(), RemovedLayer()
        block.norm2, block.norm3 = RemovedLayer(), RemovedLayer()
        transformer.proj_out = RemovedLayer()
        self.conv_norm_out, self.conv_act, self.conv_out = None, None, RemovedLayer()

    def forward(self, sample: Tensor, timestep: Tensor | int, encoder_hidden_states: Tensor) -> Bank:
        """Record the self-attention inputs of the reference.

        sample: clean scaled latents of the reference, `[R, 4, h, w]`. timestep: that of the frames, a number or `[R]`.
        encoder_hidden_states: text context `[1 or R, 77, C]`.
        Returns the bank: block name -> `[R, T, C]`, in forward order.
        """
        self._recorder.bank = bank = {}
        try:
            super().forward(sample, timestep, encoder_hidden_states)
            return bank
        finally:
            self._recorder.bank = None


@dataclass(frozen=True)
class ReferenceReader:
    """Reference pictures and the Appearance Control Model that reads them at a timestep.

    latents: clean scaled latents `[R, 4, h, w]` on the network's device. per_person: number of consecutive rows that
    are pictures of the same person, whose tokens are concatenated.
    """

    network: AppearanceControlModel
    latents: Tensor
    per_person: int = 1

    def bank(self, timestep: Tensor | int, context: Tensor) -> Bank:
        """Return the bank at a timestep: block name -> `[R / n, n * T, C]` with n = `per_person`.

        timestep: a number or `[R]`. context: `[1 or R, 77, C]`.
        """
        bank = self.network(self.latents, timestep, context)
        return {
            name: tokens.reshape(-1, self.per_person * tokens.shape[1], tokens.shape[2])
            for name, tokens in bank.items()
        }

    def source(
        self, unet: UNet2DConditionModel, timestep: Tensor | int, context: Tensor, strength: float = 1.0
    ) -> ReferenceSource | None:
        """Return the bank projected by the UNet that attends to it; None, without computation, for strength 0."""
        if strength == 0.0:
            return None
        return project_bank(unet, self.bank(timestep, context), strength)
