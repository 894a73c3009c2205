"""Other nodes, samplers and ways of asking the MODEL."""

import itertools

import comfy.sample
import comfy.samplers
import torch
from setting import (
    CALLS,
    EMPTY,
    FRAMES,
    MODEL,
    NEGATIVE,
    NOISE,
    POSITIVE,
    REFERENCE,
    apply,
    conditioning,
    core_node,
    draw,
    recording,
    relative,
    sample,
)


def order() -> dict:
    """A guider whose conditionings have another order and number than KSampler's."""
    untouched, seen = sample(MODEL, cfg=1.0, positive=conditioning(NEGATIVE)), {}

    class Swapped(comfy.samplers.CFGGuider):
        def predict_noise(self, x, timestep, model_options=None, seed=None):
            halves = [[self.conds["negative"], self.conds["positive"]], [self.conds["negative"]]][self.alone]
            return comfy.samplers.calc_cond_batch(self.inner_model, halves, x, timestep, model_options)[0]

    for alone in (False, True):
        guider = Swapped(apply())
        guider.alone = alone
        guider.set_conds(conditioning(POSITIVE), conditioning(NEGATIVE))
        sigmas = comfy.samplers.calculate_sigmas(MODEL.get_model_object("model_sampling"), "normal", 2)
        out = guider.sample(NOISE, EMPTY, comfy.samplers.sampler_object("euler"), sigmas, disable_pbar=True, seed=5)
        seen[("first", "alone")[alone]] = relative(MODEL.model.process_latent_in(out), untouched)
    return seen


def others() -> dict:
    """Nodes that also change attention, before and after ours: the same result, and not the one without the other."""
    report, ours = {}, sample(apply())
    cases = {
        "perturbed attention": lambda model: core_node("nodes_pag", "PerturbedAttentionGuidance", model, 2.0),
        "FreeU": lambda model: core_node("nodes_freelunch", "FreeU", model, 1.3, 1.4, 0.9, 0.2),
        "rescaled guidance": lambda model: core_node("nodes_model_advanced", "RescaleCFG", model, 0.7),
        "two references": lambda model: apply(model, REFERENCE[1:]),
        "LoRA": lora,
    }
    for name, change in cases.items():
        before, after = sample(apply(change(MODEL))), sample(change(apply()))
        report[name] = {
            "order": relative(before, after),
            "beside_ours": relative(after, ours),
            "beside_theirs": relative(after, sample(change(MODEL))),
        }
    merged = lambda model: core_node("nodes_tomesd", "TomePatchModel", model, 0.3)  # noqa: E731  draws at random
    report["token merging"] = all(bool(sample(m).isfinite().all()) for m in (apply(merged(MODEL)), merged(apply())))
    return report


def lora(model):
    torch.manual_seed(3)
    key = "diffusion_model.input_blocks.1.1.transformer_blocks.0.attn1.to_k.weight"
    changed = model.clone()
    changed.add_patches({key: ("diff", (torch.randn(32, 32) * 0.1,))}, 1.0)
    return changed


def regions() -> dict:
    """Two people by masks, areas and masked prompts, inpainting, and masks that change nothing."""
    first, second = REFERENCE[:1], REFERENCE[1:]
    whole, none = torch.ones(1, 64, 64), torch.zeros(1, 64, 64)
    left = torch.zeros(1, 64, 64)
    left[..., :32] = 1
    alone = sample(apply(reference=first))
    both = sample(apply(apply(reference=first, mask=left), second, mask=1 - left))
    pair = sample(apply(apply(reference=first), second))
    frames = torch.cat([left, 1 - left, left])
    moving = sample(apply(reference=first, mask=frames))
    halves = [sample(apply(reference=first, mask=mask)) for mask in (left, 1 - left)]
    areas = [[POSITIVE, {"area": (8, 4, 0, 0)}], [draw(1, 77, 64), {"area": (8, 4, 0, 4)}]]
    masked = [
        [POSITIVE, {"mask": left, "mask_strength": 1.0}],
        [draw(1, 77, 64), {"mask": 1 - left, "mask_strength": 1.0}],
    ]
    report = {
        "mask_everywhere": relative(sample(apply(reference=first, mask=whole)), alone),
        "mask_nowhere": relative(sample(apply(reference=first, mask=none)), sample(MODEL)),
        "one_person_masked_out": relative(sample(apply(apply(reference=first, mask=whole), second, mask=none)), alone),
        "two_people_differ": relative(both, pair),
        "mask_a_frame": max(relative(moving[i], halves[i % 2][i]) for i in range(FRAMES)),
    }
    calls = {}
    for name, positive in (("areas", areas), ("masked prompts", masked)):
        seen = sample(apply(reference=first, mask=left), positive=positive)
        calls[name] = len(CALLS)
        report[name] = relative(seen, sample(MODEL, positive=positive))
    # An area uses its own part of a mask: the right side of the mask is black, so the right area uses no reference.
    right = conditioning(POSITIVE, area=(8, 4, 0, 4))
    seen, plain = sample(apply(reference=first, mask=left), positive=right), sample(MODEL, positive=right)
    report["area_outside_the_mask"] = relative(seen, plain)
    inpainted = sample(apply(reference=first), noise_mask=left[:, None, ::8, ::8].contiguous())
    report["inpainting"] = float(inpainted[..., 4:].abs().max())  # unmasked parts stay empty
    return report | {"calls": calls}


def samplers() -> dict:
    """Calls of the network: one for each level of noise that the UNet is asked at, whatever the sampler."""
    report = {}
    for sampler in ("euler", "heun", "dpm_2", "dpmpp_2m", "dpmpp_sde", "euler_ancestral", "lcm", "uni_pc"):
        model, levels = recording(apply(), lambda args: float(args[1][0]))
        seen = sample(model, sampler, "karras", steps=4)
        report[sampler] = [len(CALLS), len([t for t, _ in itertools.groupby(levels)]), bool(seen.isfinite().all())]
    larger = sample(apply(reference=draw(1, 4, 7, 11)), latent=torch.zeros(1, 4, 12, 8)[:, :, :8, :8])
    report["another size"] = bool(larger.isfinite().all())
    wide = torch.zeros(1, 4, 12, 16)
    CALLS.clear()
    hires = comfy.sample.sample(
        apply(), draw(1, 4, 12, 16), 2, 3.0, "euler", "normal", conditioning(POSITIVE), conditioning(NEGATIVE), wide,
        disable_pbar=True, denoise=0.5,
    )  # fmt: skip
    report["larger frames"] = bool(hires.isfinite().all()) and len(CALLS) == 2
    return report


def guiders() -> dict:
    """DualCFGGuider calls its negative the first: it still sees nobody."""
    from comfy_extras.nodes_custom_sampler import Guider_DualCFG

    model, notes = recording(
        apply(), lambda args: [(round(float(text.sum()), 2), "magicdance_tokens" in args[5]) for text in args[2]]
    )
    guider = Guider_DualCFG(model)
    guider.set_conds(conditioning(POSITIVE), conditioning(POSITIVE * 0.5), conditioning(NEGATIVE))
    guider.set_cfg(3.0, 2.0)
    sigmas = comfy.samplers.calculate_sigmas(MODEL.get_model_object("model_sampling"), "normal", 2)
    guider.sample(NOISE, EMPTY, comfy.samplers.sampler_object("euler"), sigmas, disable_pbar=True, seed=5)
    texts = {"positive": POSITIVE, "middle": POSITIVE * 0.5, "negative": NEGATIVE}
    return {name: (round(float(text.sum()), 2), True) in sum(notes, []) for name, text in texts.items()}


def compiled() -> dict:
    """torch.compile's node around the MODEL, before and after ours; a call does not compile anew."""
    import torch._dynamo.testing
    from comfy_api.torch_helpers import set_torch_compile_wrapper

    report = {}
    left = torch.zeros(1, 64, 64)
    left[..., :32] = 1
    for place, more in (("after", {}), ("before", {"strength": 0.5, "mask": left})):
        expected = sample(apply(**more))
        torch._dynamo.reset()
        counter, model = torch._dynamo.testing.CompileCounter(), MODEL.clone() if place == "before" else apply(**more)
        set_torch_compile_wrapper(model, backend=counter)
        graphs = []
        for _ in range(2):
            seen = sample(apply(model, **more) if place == "before" else model)
            graphs.append(counter.frame_count)
        report[place] = {"relative": relative(seen, expected), "graphs": graphs}
    return report
