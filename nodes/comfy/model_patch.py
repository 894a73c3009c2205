"""Appearance Control as a patch of ComfyUI's own MODEL: with every sampler, beside whatever else patches a MODEL.

Only ComfyUI's public hooks are used. Around a run (OUTER_SAMPLE) lives a `Run`, which knows the sources and keeps what
they have read at the present timestep. Around a prediction of the branches of guidance (CALC_COND_BATCH) it is decided
which branch sees which sources; branches that differ are predicted separately, so the one without stays exactly what it
was. Around a call of the UNet (APPLY_MODEL, outside of what torch.compile nodes compile) the tokens are made ready,
and an attn1 patch, after all others, appends them to those that self-attention looks at.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from . import conversion, memory
from .reference_tokens import TOKENS, Block, ReferenceTokens, append_tokens, weigh_tokens

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher
    from torch import Tensor

    from ...magicdance_core.sampling import Control

logger = logging.getLogger(__name__)

KEY = "magicdance_appearance"  # of everything that is attached to a MODEL or travels through a run
SOURCES, NEGATIVE = f"{KEY}_sources", f"{KEY}_negative"


@dataclass(frozen=True, eq=False)
class Source:
    """Pictures of one person, and who reads them.

    network: the Appearance Control Model (`memory.hold`). latents: clean and scaled, `[R, 4, h, w]`, any size.
    control: strength and range, a range as fractions of the noise schedule as with ComfyUI's own ControlNet nodes.
    balance: whether the negative branch sees the reference, too. mask: `[1 or F, H, W]` in [0, 1], which parts of the
    frames look at this reference. text: `[1, n, C]`, what the network reads besides; None for each branch's own prompt.
    """

    network: ModelPatcher
    latents: Tensor
    control: Control
    balance: bool = False
    mask: Tensor | None = None
    text: Tensor | None = None

    @cached_property
    def blocks(self) -> dict[str, Block]:
        """Where ComfyUI's UNet has the blocks that the network records."""
        return {name: _block(path) for name, path in _attention_paths(memory.network(self.network)).items()}


def apply_source(model: ModelPatcher, source: Source) -> ModelPatcher:
    """A clone of a MODEL that looks at one source more."""
    from comfy.patcher_extension import WrappersMP

    patched = model.clone()
    sources = (*(model.get_attachment(KEY) or ()), source)
    patched.set_attachments(KEY, sources)
    patched.set_additional_models(KEY, list({id(each.network.model): each.network for each in sources}.values()))
    if len(sources) == 1:
        patched.add_wrapper_with_key(WrappersMP.OUTER_SAMPLE, KEY, _around_run)
        patched.add_wrapper_with_key(WrappersMP.SAMPLER_SAMPLE, KEY, _around_sampler)
        patched.add_wrapper_with_key(WrappersMP.CALC_COND_BATCH, KEY, _around_branches)
        patched.add_wrapper_with_key(WrappersMP.APPLY_MODEL, KEY, _around_model)
    return patched


def check_fit(model: ModelPatcher, network: ModelPatcher) -> None:
    """Raise InputError unless this MODEL can look at what this Appearance Control Model records."""
    from ...magicdance_core.errors import InputError

    conversion.check_family(model)
    ours = memory.network(network)
    shapes = {name: tuple(weight.shape) for name, weight in model.model_state_dict("diffusion_model.").items()}
    wide = {path: ours.get_submodule(name).norm1.weight.shape[0] for name, path in _attention_paths(ours).items()}
    theirs = {
        name.removeprefix("diffusion_model.").removesuffix(".norm1.weight"): shape[0]
        for name, shape in shapes.items()
        if name.endswith("transformer_blocks.0.norm1.weight")
    }
    if wide != theirs:
        raise InputError(
            f"This Appearance Control Model has {_widths(wide)}, the connected MODEL has {_widths(theirs)}: "
            "take both from one family of models."
        )
    refuse_replaced(model.model_options)


def text_width(network: ModelPatcher) -> int:
    """How many numbers a token of text has for this Appearance Control Model."""
    return memory.network(network).config.cross_attention_dim


def refuse_replaced(model_options: dict) -> None:
    """Raise InputError where self-attention is replaced, which would never look at the reference."""
    from ...magicdance_core.errors import InputError

    replaced = model_options.get("transformer_options", {}).get("patches_replace", {}).get("attn1", {})
    for patch in replaced.values():
        owner = getattr(patch, "__qualname__", type(patch).__qualname__).split(".")[0]
        module = re.split(r"[\\/]", getattr(patch, "__module__", None) or "unknown")[-1]
        raise InputError(
            f"Self-attention of the connected MODEL is replaced by {owner} ({module}), so the reference would not be "
            "seen: remove that node, or apply it to another MODEL."
        )


class Run:
    """One run of a sampler: its sources, and what they have read at the present timestep."""

    def __init__(self, model: ModelPatcher):
        sampling = model.get_model_object("model_sampling")
        self.sources: tuple[Source, ...] = model.get_attachment(KEY)
        self._ranges = [
            tuple(float(sampling.percent_to_sigma(part)) for part in (source.control.start, source.control.end))
            for source in self.sources
        ]
        self._timestep: float | None = None
        self._read: list[tuple[Source, Tensor, dict]] = []
        self.size: tuple[int, int] = (0, 0)
        self.areas: dict = {}

    def active(self, sigma: float, negative: bool) -> tuple[Source, ...]:
        """The sources that a branch of guidance sees at this level of noise."""
        return tuple(
            source
            for source, (first, last) in zip(self.sources, self._ranges)
            if last <= sigma <= first and (source.balance or not negative)
        )

    def read(self, source: Source, timestep: Tensor, context: Tensor) -> dict[Block, Tensor]:
        """What a source shows at a timestep `[1]`, under a text `[1, n, C]`: block -> tokens `[1, n, C]`.

        Read once: frames, windows and the other branch of guidance share it.
        """
        import torch

        from ...magicdance_core.models import ReferenceReader

        if (now := float(timestep)) != self._timestep:
            self._timestep = now
            self._read.clear()
        if source.text is not None:
            context = source.text
        for known, text, tokens in self._read:
            if known is source and (text is context or text.shape == context.shape and torch.equal(text, context)):
                return tokens
        device, dtype = memory.place(source.network)
        latents = source.latents.to(device, dtype)
        reader = ReferenceReader(memory.network(source.network), latents, per_person=len(latents))
        bank = reader.bank(timestep.to(device), context.to(device, dtype))
        tokens = {source.blocks[name]: seen for name, seen in bank.items()}
        self._read.append((source, context, tokens))
        return tokens

    def close(self) -> None:
        self._read.clear()


def _around_run(executor, noise, *args, **kwargs):
    guider = executor.class_obj
    refuse_replaced(guider.model_options)
    run = Run(guider.model_patcher)
    for source in run.sources:
        theirs, ours = ([8 * side for side in part.shape[-1:-3:-1]] for part in (source.latents, noise))
        if theirs != ours and source.mask is None:
            logger.warning(
                "The reference has %d x %d pixels, the frames have %d x %d: for the best likeness give it their size.",
                *theirs,
                *ours,
            )
    guider.model_options["transformer_options"][KEY] = run  # of options that belong to this run only
    try:
        return executor(noise, *args, **kwargs)
    finally:
        run.close()


def _around_sampler(executor, guider, *args, **kwargs):
    """Note on each conditioning of the run which branch it belongs to: it may be asked alone, or in other places."""
    for name, conditionings in guider.conds.items():
        for conditioning in conditionings:
            conditioning[NEGATIVE] = "negative" in name
    return executor(guider, *args, **kwargs)


def _around_branches(executor, model, conds, x, timestep, model_options):
    options = model_options["transformer_options"]
    run: Run | None = options.get(KEY)
    if run is None:
        return executor(model, conds, x, timestep, model_options)
    run.size = tuple(x.shape[-2:])
    run.areas = {part.get("uuid"): part.get("area") for branch in conds for part in branch or ()}
    sigma = float(timestep[0])
    seen = [run.active(sigma, _is_negative(branch, index)) if branch else None for index, branch in enumerate(conds)]
    if all(each is None for each in seen):
        return executor(model, conds, x, timestep, model_options)
    results: list[Tensor | None] = [None] * len(conds)
    for sources in dict.fromkeys(each for each in seen if each is not None):
        branches = [branch if each == sources else None for branch, each in zip(conds, seen)]
        told = {**model_options, "transformer_options": {**options, SOURCES: sources}}
        for index, result in enumerate(executor(model, branches, x, timestep, told)):
            if seen[index] == sources or (seen[index] is None and results[index] is None):
                results[index] = result
    return results


def _is_negative(branch: list[dict], index: int) -> bool:
    return branch[0].get(NEGATIVE, index == 1)


def _around_model(executor, x, t, c_concat=None, c_crossattn=None, control=None, transformer_options=None, **kwargs):
    options = dict(transformer_options or {})
    if options.get(SOURCES):
        timestep = executor.class_obj.model_sampling.timestep(t[:1]).float()
        options[TOKENS] = tokens = _tokens(options, timestep, len(x), c_crossattn)
        patches = options.get("patches", {})
        options["patches"] = {**patches, "attn1_patch": [*patches.get("attn1_patch", []), append_tokens]}
        if tokens.weighed:
            replaced = options.get("patches_replace", {})
            weighing = dict.fromkeys(tokens.blocks, weigh_tokens)
            options["patches_replace"] = {**replaced, "attn1": {**replaced.get("attn1", {}), **weighing}}
    return executor(x, t, c_concat, c_crossattn, control, options, **kwargs)


def _tokens(options: dict, timestep: Tensor, batch: int, contexts: Tensor) -> ReferenceTokens:
    """What a call of the UNet sees: of each source, for each conditioning in the batch, or for each frame's prompt."""
    import torch

    from ...magicdance_core.errors import InputError

    run: Run = options[KEY]
    sources: tuple[Source, ...] = options[SOURCES]
    frames = batch // len(options["cond_or_uncond"])
    by_frame = contexts.unflatten(0, (-1, frames))
    texts = by_frame[:, 0] if bool((by_frame == by_frame[:, :1]).all()) else contexts  # as a rule one for all frames
    if texts.shape[-1] != text_width(sources[0].network):
        raise InputError("The prompt was written with another model's CLIP: use the CLIP of Stable Diffusion 1.5.")
    shown = []  # of each source, for each prompt: block -> tokens
    for source in sources:
        each = [run.read(source, timestep, text[None]) for text in texts]
        shown.append(each[:1] if all(tokens is each[0] for tokens in each) else each)
    rows = max(map(len, shown))
    # A guidance that replaces self-attention for a prediction of its own expects to see the frame alone there.
    replaced = options.get("patches_replace", {}).get("attn1", {})
    blocks, counts = {}, {}
    for block in sources[0].blocks.values():
        if block in replaced or block[:2] in replaced:
            continue
        parts = [torch.cat([tokens[block] for tokens in each]).expand(rows, -1, -1) for each in shown]
        blocks[block] = parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
        counts[block] = tuple(part.shape[1] for part in parts)
    places = [None if source.mask is None else _place(source.mask, run, options, frames) for source in sources]
    return ReferenceTokens(blocks, counts, tuple((s.control.strength, place) for s, place in zip(sources, places)))


def _place(mask: Tensor, run: Run, options: dict, frames: int) -> Tensor:
    """The part of a mask that the batch is about: `[1 or batch, 1, h, w]`."""
    import torch
    import torch.nn.functional as F

    from ...magicdance_core.errors import InputError

    if len(mask) > 1:
        windowed = options.get("ad_params", {})  # as AnimateDiff-Evolved tells it to other packs
        window = windowed.get("sub_idxs") or range(frames)
        wanted = windowed["full_length"] if windowed.get("sub_idxs") else frames
        if len(mask) != wanted:
            raise InputError(f"`mask` has {len(mask)} pictures for {wanted} frames: give one for all or one for each.")
        mask = mask[list(window)]
    place = F.interpolate(mask[:, None], run.size, mode="area")
    areas = [run.areas.get(number) for number in options["uuids"]]
    if not any(areas):
        return place if len(place) == 1 else place.repeat(len(areas), 1, 1, 1)
    cut = [
        place if area is None else place[..., area[2] : area[2] + area[0], area[3] : area[3] + area[1]]
        for area in areas
    ]
    return torch.cat([part.expand(frames, -1, -1, -1) for part in cut])


def _attention_paths(network) -> dict[str, str]:
    """The blocks of an Appearance Control Model: their names, and those of the published layout."""
    from ...magicdance_core.checkpoints.names import unet_names
    from ...magicdance_core.models.attention import self_attention_blocks

    layout = unet_names(network)
    return {
        name: layout[f"{name}.norm1.weight"].removesuffix(".norm1.weight") for name in self_attention_blocks(network)
    }


def _block(path: str) -> Block:
    """`input_blocks.4.1.transformer_blocks.0` is the block ("input", 4, 0); the middle's number is 0."""
    part, number, *_, index = path.split(".")
    part = part.split("_")[0]
    return part, 0 if part == "middle" else int(number), int(index)


def _widths(blocks: dict[str, int]) -> str:
    wide = ", ".join(map(str, sorted(set(blocks.values()))))
    return f"{len(blocks)} self-attention blocks of width {wide}"
