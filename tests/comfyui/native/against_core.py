"""Predictions and samples of the patched MODEL against the core's."""

import itertools
import math
from contextlib import contextmanager
from unittest import mock

import comfy.model_management as mm
import comfy.samplers
import torch
from comfy.ldm.modules import attention
from comfy.patcher_extension import WrappersMP
from setting import (
    CALLS,
    CONTROL_MODES,
    EMPTY,
    MODEL,
    NEGATIVE,
    NETWORK,
    NOISE,
    POSITIVE,
    REFERENCE,
    UNET,
    SameSigmas,
    apply,
    as_model,
    conditioning,
    core,
    memory,
    random_networks,
    relative,
    sample,
    sampling,
)


def predictions(model, sigma: torch.Tensor, x: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return the noise predictions for the positive and the negative prompt, called through a guider."""
    seen = {}

    def remember(executor, *args, **kwargs):
        noise = executor(*args, **kwargs)
        halves = args[5]["cond_or_uncond"]
        seen.update(zip((("cond", "uncond")[half] for half in halves), noise.chunk(len(halves))))
        return noise

    def once(model, noise, sigmas, extra_args, callback, disable):
        return model(x, sigmas[:1].expand(len(x)), **extra_args)

    model = model.clone()
    model.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, "test", remember)
    guider = comfy.samplers.CFGGuider(model)
    guider.set_conds(conditioning(POSITIVE), conditioning(NEGATIVE))
    guider.set_cfg(3.0)
    sampler = comfy.samplers.KSAMPLER(once)
    guider.sample(NOISE, EMPTY, sampler, torch.stack([sigma, torch.tensor(0.0)]), disable_pbar=True, seed=5)
    return seen


def expected_predictions(unet, network, sigma, x, t: int, references: torch.Tensor, strength: float, mode: str) -> dict:
    dtype, x = unet.dtype, x / (sigma**2 + 1) ** 0.5

    def half(text, sees: bool):
        text = text.to(dtype)
        reader = core.ReferenceReader(network, references.to(dtype), per_person=len(references))
        source = reader.source(unet, t, text, strength) if sees else None
        # A timestep and a text for each frame, as ComfyUI asks: fewer rows are the same sums in another order.
        rows = torch.full((len(x),), t), text.expand(len(x), -1, -1)
        return core.predict(core.Networks(unet, network), x.to(dtype), *rows, source)

    return {"cond": half(POSITIVE, True), "uncond": half(NEGATIVE, mode == "balance")}


def attention_of_the_core(q, k, v, heads, mask=None, **more):
    """PyTorch's; a strength, which the patch says by a mask, is one channel more there."""
    if mask is None:
        return attention.attention_pytorch(q, k, v, heads, **more)
    own = int((mask[0, 0, 0] == 0).sum())
    strength = math.exp(float(mask[0, 0, 0, -1]))
    return core.attention.attend(q, k[:, :own], v[:, :own], heads, k[:, own:], v[:, own:], strength)


@contextmanager
def sums_in_the_cores_order():
    """Make ComfyUI use the core's attention, and separate batches for the positive and the negative prompt."""
    both = dict.fromkeys(("optimized_attention", "optimized_attention_masked"), attention_of_the_core)
    with mock.patch.multiple(attention, **both), mock.patch.object(mm, "get_free_memory", lambda *_, **__: 0):
        yield


@sums_in_the_cores_order()
def prediction() -> dict:
    """Compare both control modes, one and two references, strengths 1 and 0.5, in single and double precision.

    plain: how far the UNets are from each other without the patch. rounding: how far the core in single precision is
    from itself in double.
    """
    report, exact = {}, {}
    sigmas = MODEL.get_model_object("model_sampling").sigmas
    for dtype in (torch.float64, torch.float32):
        unet, network = (part.to(dtype) for part in random_networks())
        model, held = as_model(unet, dtype), memory.hold(network, "appearance")
        held.model.compute_dtype = dtype
        furthest = dict.fromkeys(("relative", "plain", "negative_untouched", "rounding"), 0.0)
        changes = []
        for t in (981, 1):
            x = REFERENCE[1:] + NOISE * sigmas[t]  # a noisy picture, as samplers ask
            plain = expected_predictions(unet, network, sigmas[t], x, t, REFERENCE, 0.0, "")
            pairs = [("plain", predictions(model, sigmas[t], x), plain)]
            for case in itertools.product(CONTROL_MODES, (1, 2), (1.0, 0.5)):
                mode, count, strength = case
                seen = predictions(apply(model, REFERENCE[:count], strength, mode=mode, appearance=held), sigmas[t], x)
                references = MODEL.model.process_latent_in(MODEL.model.process_latent_out(REFERENCE[:count]))
                expected = expected_predictions(unet, network, sigmas[t], x, t, references, strength, mode)
                pairs += [("relative", seen, expected), ("rounding", expected, exact.setdefault((t, case), expected))]
                if mode == "controlnet_important":
                    pairs.append(("negative_untouched", seen, {"uncond": plain["uncond"]}))
                changes.append(relative(expected["cond"], plain["cond"]))
            for name, seen, expected in pairs:
                furthest[name] = max(furthest[name], *(relative(seen[half], expected[half]) for half in expected))
        report[str(dtype).removeprefix("torch.")] = furthest | {"the_reference_changes": min(changes)}
    return report


def ksampler() -> dict:
    report = {}
    model_sampling = MODEL.get_model_object("model_sampling")
    for sampler, scheduler in (("ddim", "ddim_uniform"), ("euler", "normal")):
        for mode in ("controlnet_important", "balance"):
            seen = sample(apply(reference=REFERENCE, mode=mode), sampler, scheduler, steps=5)
            calls = len(CALLS)
            scheduled = comfy.samplers.calculate_sigmas(model_sampling, scheduler, 5)
            expected = sampling.denoise(
                core.Networks(UNET, NETWORK),
                SameSigmas(scheduled, model_sampling),
                sampling.SamplingSettings(len(scheduled) - 1, 3.0, mode),
                sampling.DenoisingInputs(
                    sampling.noise_from_latents(NOISE), len(NOISE), POSITIVE, NEGATIVE,
                    sampling.EncodedReference(REFERENCE),
                ),
            )  # fmt: skip
            report[f"{sampler} {mode}"] = {
                "relative": relative(seen, expected),
                "calls_a_step": calls / (len(scheduled) - 1),
            }
    return report
