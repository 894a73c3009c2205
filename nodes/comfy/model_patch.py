"""Appearance Control as a patch of ComfyUI's own MODEL, for every sampler and next to any other patch.

Only ComfyUI's public hooks are used:

- OUTER_SAMPLE, around a run of a sampler: makes a `SamplerRun`, which has the sources and caches their tokens.
- SAMPLER_SAMPLE: marks which conditionings belong to the negative prompt.
- CALC_COND_BATCH, around the predictions of a step: decides which conditioning uses which sources. Conditionings that
  differ in this are predicted separately, so that those without a source are computed exactly as without the patch.
- APPLY_MODEL, around a call of the UNet (outside of what torch.compile nodes compile): computes the tokens.
- An attn1 patch, after all others: appends the tokens to the keys and values of self-attention.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from . import conversion, memory
from .reference_tokens import TOKENS, Block, ReferenceTokens, append_tokens, attend_weighted

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher
    from torch import Tensor

    from ...magicdance_core.sampling import Control

logger = logging.getLogger(__name__)

KEY = "magicdance_appearance"  # of attachments to a MODEL, and of the run in transformer_options
SOURCES, NEGATIVE = f"{KEY}_sources", f"{KEY}_negative"


@dataclass(frozen=True, eq=False)
class Source:
    """Reference pictures of one person, and how they are used.

    network: the Appearance Control Model (`memory.hold`).
    latents: of the pictures, without noise, scaled as the UNet sees them, `[R, 4, h, w]`, any size.
    control: strength and range; the range is in fractions of the noise schedule, as in ComfyUI's ControlNet nodes.
    balance: whether the negative prompt's prediction uses the reference too.
    mask: `[1 or F, H, W]` in [0, 1], the part of the frames that uses this reference; None for all of it.
    text: embeddings `[1, n, C]` for the network; None for the sampler's prompts.
    """

    network: ModelPatcher
    latents: Tensor
    control: Control
    balance: bool = False
    mask: Tensor | None = None
    text: Tensor | None = None

    @cached_property
    def blocks(self) -> dict[str, Block]:
        """Map the network's recorded blocks to those of ComfyUI's UNet."""
        return {name: _block(path) for name, path in _attention_paths(memory.network(self.network)).items()}


def apply_source(model: ModelPatcher, source: Source) -> ModelPatcher:
    """Return a clone of a MODEL with one more source."""
    from comfy.patcher_extension import WrappersMP

    patched = model.clone()
    sources = (*(model.get_attachment(KEY) or ()), source)
    patched.set_attachments(KEY, sources)
    patched.set_additional_models(KEY, list({id(each.network.model): each.network for each in sources}.values()))
    if len(sources) == 1:
        patched.add_wrapper_with_key(WrappersMP.OUTER_SAMPLE, KEY, _outer_sample)
        patched.add_wrapper_with_key(WrappersMP.SAMPLER_SAMPLE, KEY, _sampler_sample)
        patched.add_wrapper_with_key(WrappersMP.CALC_COND_BATCH, KEY, _calc_cond_batch)
        patched.add_wrapper_with_key(WrappersMP.APPLY_MODEL, KEY, _apply_model)
    return patched


def check_fit(model: ModelPatcher, network: ModelPatcher) -> None:
    """Raise InputError unless MODEL and Appearance Control Model have the same self-attention blocks."""
    from ...magicdance_core.errors import InputError

    conversion.check_family(model)
    ours = memory.network(network)
    shapes = {name: tuple(weight.shape) for name, weight in model.model_state_dict("diffusion_model.").items()}
    widths = {path: ours.get_submodule(name).norm1.weight.shape[0] for name, path in _attention_paths(ours).items()}
    theirs = {
        name.removeprefix("diffusion_model.").removesuffix(".norm1.weight"): shape[0]
        for name, shape in shapes.items()
        if name.endswith("transformer_blocks.0.norm1.weight")
    }
    if widths != theirs:
        raise InputError(
            f"This Appearance Control Model has {_describe(widths)}, the connected MODEL has {_describe(theirs)}: "
            "choose both of the same model family."
        )
    refuse_replaced(model.model_options)


def text_width(network: ModelPatcher) -> int:
    """Return the width of the text embeddings that an Appearance Control Model takes."""
    return memory.network(network).config.cross_attention_dim


def refuse_replaced(model_options: dict) -> None:
    """Raise InputError if a node has replaced self-attention, which would then ignore the reference."""
    from ...magicdance_core.errors import InputError

    replaced = model_options.get("transformer_options", {}).get("patches_replace", {}).get("attn1", {})
    for patch in replaced.values():
        owner = getattr(patch, "__qualname__", type(patch).__qualname__).split(".")[0]
        module = re.split(r"[\\/]", getattr(patch, "__module__", None) or "unknown")[-1]
        raise InputError(
            f"Self-attention of the connected MODEL is replaced by {owner} ({module}), which ignores references: "
            "remove that node, or apply it to another MODEL."
        )


class SamplerRun:
    """One run of a sampler: its sources, and a cache of their tokens at the current timestep."""

    def __init__(self, model: ModelPatcher):
        sampling = model.get_model_object("model_sampling")
        self.sources: tuple[Source, ...] = model.get_attachment(KEY)
        self._ranges = [
            tuple(float(sampling.percent_to_sigma(part)) for part in (source.control.start, source.control.end))
            for source in self.sources
        ]
        self._timestep: float | None = None
        self._cache: list[tuple[Source, Tensor, dict]] = []
        self.size: tuple[int, int] = (0, 0)
        self.areas: dict = {}

    def active(self, sigma: float, negative: bool) -> tuple[Source, ...]:
        """Return the sources that a conditioning uses at this noise level."""
        return tuple(
            source
            for source, (first, last) in zip(self.sources, self._ranges)
            if last <= sigma <= first and (source.balance or not negative)
        )

    def tokens(self, source: Source, timestep: Tensor, context: Tensor) -> dict[Block, Tensor]:
        """Return the tokens of a source at a timestep `[1]` and a prompt `[1, n, C]`: block -> `[1, n, C]`.

        Frames, context windows and equal prompts share one call of the network.
        """
        import torch

        from ...magicdance_core.models import ReferenceReader

        if (now := float(timestep)) != self._timestep:
            self._timestep = now
            self._cache.clear()
        if source.text is not None:
            context = source.text
        for known, text, tokens in self._cache:
            if known is source and (text is context or text.shape == context.shape and torch.equal(text, context)):
                return tokens
        device, dtype = memory.device_and_dtype(source.network)
        latents = source.latents.to(device, dtype)
        reader = ReferenceReader(memory.network(source.network), latents, per_person=len(latents))
        bank = reader.bank(timestep.to(device), context.to(device, dtype))
        tokens = {source.blocks[name]: features for name, features in bank.items()}
        self._cache.append((source, context, tokens))
        return tokens

    def close(self) -> None:
        self._cache.clear()


def _outer_sample(executor, noise, *args, **kwargs):
    guider = executor.class_obj
    refuse_replaced(guider.model_options)
    run = SamplerRun(guider.model_patcher)
    for source in run.sources:
        size, frame_size = ([8 * side for side in part.shape[-1:-3:-1]] for part in (source.latents, noise))
        if size != frame_size and source.mask is None:
            logger.warning(
                "The reference has %d x %d pixels, the frames have %d x %d: for the best likeness scale it.",
                *size,
                *frame_size,
            )
    guider.model_options["transformer_options"][KEY] = run  # ComfyUI copies these options for each run
    try:
        return executor(noise, *args, **kwargs)
    finally:
        run.close()


def _sampler_sample(executor, guider, *args, **kwargs):
    """Mark the conditionings of the negative prompt: samplers may predict them alone, or in another order."""
    for name, conditionings in guider.conds.items():
        for conditioning in conditionings:
            conditioning[NEGATIVE] = "negative" in name
    return executor(guider, *args, **kwargs)


def _calc_cond_batch(executor, model, conds, x, timestep, model_options):
    options = model_options["transformer_options"]
    run: SamplerRun | None = options.get(KEY)
    if run is None:
        return executor(model, conds, x, timestep, model_options)
    run.size = tuple(x.shape[-2:])
    run.areas = {part.get("uuid"): part.get("area") for cond in conds for part in cond or ()}
    sigma = float(timestep[0])
    active = [run.active(sigma, _is_negative(cond, index)) if cond else None for index, cond in enumerate(conds)]
    if all(sources is None for sources in active):
        return executor(model, conds, x, timestep, model_options)
    results: list[Tensor | None] = [None] * len(conds)
    for sources in dict.fromkeys(each for each in active if each is not None):
        group = [cond if each == sources else None for cond, each in zip(conds, active)]
        group_options = {**model_options, "transformer_options": {**options, SOURCES: sources}}
        for index, result in enumerate(executor(model, group, x, timestep, group_options)):
            if active[index] == sources or (active[index] is None and results[index] is None):
                results[index] = result
    return results


def _is_negative(cond: list[dict], index: int) -> bool:
    return cond[0].get(NEGATIVE, index == 1)


def _apply_model(executor, x, t, c_concat=None, c_crossattn=None, control=None, transformer_options=None, **kwargs):
    options = dict(transformer_options or {})
    if options.get(SOURCES):
        timestep = executor.class_obj.model_sampling.timestep(t[:1]).float()
        options[TOKENS] = tokens = _tokens(options, timestep, len(x), c_crossattn)
        patches = options.get("patches", {})
        options["patches"] = {**patches, "attn1_patch": [*patches.get("attn1_patch", []), append_tokens]}
        if tokens.weighted:
            replaced = options.get("patches_replace", {})
            weighted = dict.fromkeys(tokens.blocks, attend_weighted)
            options["patches_replace"] = {**replaced, "attn1": {**replaced.get("attn1", {}), **weighted}}
    return executor(x, t, c_concat, c_crossattn, control, options, **kwargs)


def _tokens(options: dict, timestep: Tensor, batch: int, contexts: Tensor) -> ReferenceTokens:
    """Return the tokens for a call of the UNet: of each source, for each conditioning, or for each frame's prompt."""
    import torch

    from ...magicdance_core.errors import InputError

    run: SamplerRun = options[KEY]
    sources: tuple[Source, ...] = options[SOURCES]
    frames = batch // len(options["cond_or_uncond"])
    by_frame = contexts.unflatten(0, (-1, frames))
    same = bool((by_frame == by_frame[:, :1]).all())  # whether all frames have the same prompt, the usual case
    texts = by_frame[:, 0] if same else contexts
    if texts.shape[-1] != text_width(sources[0].network):
        raise InputError("The prompt was encoded with another model's CLIP: use the CLIP of Stable Diffusion 1.5.")
    by_source = []  # for each source, a list over prompts of: block -> tokens
    for source in sources:
        each = [run.tokens(source, timestep, text[None]) for text in texts]
        by_source.append(each[:1] if all(tokens is each[0] for tokens in each) else each)
    rows = max(map(len, by_source))
    # Guidance methods that replace self-attention in a prediction of their own expect the frame's own tokens only.
    replaced = options.get("patches_replace", {}).get("attn1", {})
    blocks, counts = {}, {}
    for block in sources[0].blocks.values():
        if block in replaced or block[:2] in replaced:
            continue
        parts = [torch.cat([tokens[block] for tokens in each]).expand(rows, -1, -1) for each in by_source]
        blocks[block] = parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
        counts[block] = tuple(part.shape[1] for part in parts)
    masks = [None if source.mask is None else _cut_mask(source.mask, run, options, frames) for source in sources]
    return ReferenceTokens(blocks, counts, tuple((s.control.strength, mask) for s, mask in zip(sources, masks)))


def _cut_mask(mask: Tensor, run: SamplerRun, options: dict, frames: int) -> Tensor:
    """Return the part of a mask that belongs to the frames and areas of a batch: `[1 or batch, 1, h, w]`."""
    import torch
    import torch.nn.functional as F

    from ...magicdance_core.errors import InputError

    if len(mask) > 1:
        windowed = options.get("ad_params", {})  # set by AnimateDiff-Evolved
        window = windowed.get("sub_idxs") or range(frames)
        wanted = windowed["full_length"] if windowed.get("sub_idxs") else frames
        if len(mask) != wanted:
            raise InputError(f"`mask` has {len(mask)} masks for {wanted} frames: connect one for all or one for each.")
        mask = mask[list(window)]
    small = F.interpolate(mask[:, None], run.size, mode="area")
    areas = [run.areas.get(number) for number in options["uuids"]]
    if not any(areas):
        return small if len(small) == 1 else small.repeat(len(areas), 1, 1, 1)
    cut = [
        small if area is None else small[..., area[2] : area[2] + area[0], area[3] : area[3] + area[1]]
        for area in areas
    ]
    return torch.cat([part.expand(frames, -1, -1, -1) for part in cut])


def _attention_paths(network) -> dict[str, str]:
    """Return the self-attention blocks of an Appearance Control Model: name -> name in the published layout."""
    from ...magicdance_core.checkpoints.names import unet_names
    from ...magicdance_core.models.attention import self_attention_blocks

    layout = unet_names(network)
    return {
        name: layout[f"{name}.norm1.weight"].removesuffix(".norm1.weight") for name in self_attention_blocks(network)
    }


def _block(path: str) -> Block:
    """Convert a path such as `input_blocks.4.1.transformer_blocks.0` to ("input", 4, 0); the middle has number 0."""
    part, number, *_, index = path.split(".")
    part = part.split("_")[0]
    return part, 0 if part == "middle" else int(number), int(index)


def _describe(widths: dict[str, int]) -> str:
    sizes = ", ".join(map(str, sorted(set(widths.values()))))
    return f"{len(widths)} self-attention blocks of width {sizes}"
