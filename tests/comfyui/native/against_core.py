"""The patched MODEL predicts and samples what the core does."""

import itertools

import comfy.samplers
import torch
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
    """What the UNet predicts (noise) in both halves of guidance, through the whole road from a guider on."""
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
        return core.predict(core.Networks(unet, network), x.to(dtype), t, text, source)

    return {"cond": half(POSITIVE, True), "uncond": half(NEGATIVE, mode == "balance")}


def prediction() -> dict:
    """Both control modes, one reference and two, full strength and half; in single and in double precision.

    In single precision the plain UNets of ComfyUI and diffusers differ in the last digits, too: `plain`.
    """
    report = {}
    sigmas = MODEL.get_model_object("model_sampling").sigmas
    for dtype in (torch.float32, torch.float64):
        unet, network = (part.to(dtype) for part in random_networks())
        model, held = as_model(unet, dtype), memory.hold(network, "appearance")
        held.model.compute_dtype = dtype
        worst, moved, untouched, plainly = 0.0, 1.0, 0.0, 0.0
        for t, mode, count, strength in itertools.product((981, 1), CONTROL_MODES, (1, 2), (1.0, 0.5)):
            x, references = NOISE * sigmas[t], REFERENCE[:count]
            about = unet, network, sigmas[t], x, t, references
            seen = predictions(apply(model, references, strength, mode=mode, network=held), sigmas[t], x)
            expected = expected_predictions(*about, strength, mode)
            plain = expected_predictions(*about, 0.0, mode)
            worst = max(worst, *(relative(seen[half], expected[half]) for half in expected))
            moved = min(moved, relative(expected["cond"], plain["cond"]))
            if mode == "controlnet_important":
                untouched = max(untouched, relative(seen["uncond"], plain["uncond"]))
        for t in (981, 1):
            x = NOISE * sigmas[t]
            expected = expected_predictions(unet, network, sigmas[t], x, t, REFERENCE, 0.0, "")
            plainly = max(plainly, relative(predictions(model, sigmas[t], x)["cond"], expected["cond"]))
        report[str(dtype).removeprefix("torch.")] = {
            "relative": worst,
            "plain": plainly,
            "negative_untouched": untouched,
            "the_reference_changes": moved,
        }
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
                core.Networks(UNET, NETWORK), SameSigmas(scheduled, model_sampling), NOISE, POSITIVE,
                num_inference_steps=len(scheduled) - 1, guidance_scale=3.0, reference=REFERENCE,
                uncond_context=NEGATIVE, control_mode=mode,
            )  # fmt: skip
            report[f"{sampler} {mode}"] = {
                "relative": relative(seen, expected),
                "calls_a_step": calls / (len(scheduled) - 1),
            }
    return report
