"""Nothing where nothing is asked for, precision, memory, cleaning up, and mistakes."""

import gc
import weakref

import comfy.model_management as mm
import comfy.supported_models
import torch
from comfy.patcher_extension import WrappersMP
from setting import (
    CALLS,
    HELD,
    MODEL,
    REFERENCE,
    SHARED,
    InputError,
    apply,
    as_model,
    conditioning,
    core_node,
    draw,
    memory,
    pack,
    random_networks,
    relative,
    sample,
)


def nothing() -> dict:
    """Strength 0, and a range that the run never enters, against the MODEL as it was: exactly equal."""
    plain = sample(MODEL)
    late = sample(apply(start_percent=0.0, end_percent=0.2), scheduler="simple", denoise=0.4)
    return {
        "strength_0": bool(torch.equal(sample(apply(strength=0.0)), plain)) and not CALLS,
        "outside": bool(torch.equal(late, sample(MODEL, scheduler="simple", denoise=0.4))),
        "input_untouched": bool(torch.equal(sample(MODEL), plain)) and not MODEL.wrappers and not MODEL.attachments,
    }


def precision() -> dict:
    """Half precision and 8 bits, stored as ComfyUI stores them."""
    report, expected = {}, sample(apply())
    for name, dtype, cast in (
        ("bfloat16", torch.bfloat16, None),
        ("float16", torch.float16, torch.float32),
        ("float8_e4m3fn", torch.float8_e4m3fn, torch.float32),
    ):
        unet, network = random_networks()
        network = network.to(dtype)
        held = memory.hold(network, "appearance")
        if cast is not None:
            held.model.compute_dtype = cast
        latent = {"samples": MODEL.model.process_latent_out(REFERENCE[:1])}
        node = pack.NODE_CLASS_MAPPINGS["MagicDanceApplyAppearanceToModel"]()
        model = as_model(unet, dtype, cast)
        seen = sample(node.apply(model, held, 1.0, 0.0, 1.0, "controlnet_important", reference=latent)[0])
        report[name] = relative(seen, expected)
    return report


def memory_modes() -> dict:
    """Loaded in part, and with no memory to spare: the same result."""
    report, model = {}, apply()
    expected = sample(model)
    (held,) = model.get_additional_models()
    report["known_to_comfyui"] = held.model is HELD.model and any(
        each.model is HELD.model for each in mm.loaded_models()
    )
    for each in (MODEL, HELD):
        each.detach()
        each.partially_load(each.load_device, each.model_size() // 3)
    report["partly_loaded"] = all(0 < each.loaded_size() < each.model_size() for each in (MODEL, HELD))
    report["partial_difference"] = float((sample(model) - expected).abs().max())
    for state in (mm.VRAMState.LOW_VRAM, mm.VRAMState.NO_VRAM):
        mm.unload_all_models()
        usual, cpu = mm.vram_state, mm.is_device_cpu
        mm.vram_state, mm.is_device_cpu = state, lambda device: False
        try:
            report[state.name] = [float((sample(model) - expected).abs().max()), HELD.loaded_size() / HELD.model_size()]
        finally:
            mm.vram_state, mm.is_device_cpu = usual, cpu
    mm.unload_all_models()
    report["unloaded"] = not mm.loaded_models()
    return report


def cleaning() -> dict:
    """After a run, an error and an interrupt nothing is kept, without waiting for the garbage collector."""
    report, banks = {}, []
    gc.collect()
    gc.disable()

    def watch(executor, *args, **kwargs):
        banks.extend(weakref.ref(tensor) for tensor in args[5]["magicdance_tokens"].blocks.values())
        return executor(*args, **kwargs)

    def stop(error):
        def callback(step, *rest):
            raise error

        return callback

    for name, error in (("run", None), ("error", ValueError("no")), ("interrupt", mm.InterruptProcessingException())):
        model = apply()
        model.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, "test", watch)
        banks.clear()
        try:
            sample(model, cfg=1.0, **({"callback": stop(error)} if error else {}))
        except (ValueError, mm.InterruptProcessingException) as caught:
            caught.__traceback__ = None
        del model
        report[name] = [len(banks) > 0, sum(bank() is not None for bank in banks)]
    gc.enable()
    options = str(MODEL.model_options)
    return report | {"options": "magicdance" in options, "works_again": relative(sample(apply()), sample(apply()))}


def mistakes() -> dict:
    """Bad input: the sentence that each of them gets."""
    said = {}

    def explain(name, make):
        try:
            make()
            said[name] = None
        except InputError as error:
            said[name] = str(error)

    def family(name, **config):
        model = MODEL.clone()
        other = type("Model", (), {"model_config": getattr(comfy.supported_models, name)({"context_dim": 1, **config})})
        model.model = other
        return model

    for name in ("SDXL", "SD20", "SVD_img2vid", "FluxSchnell"):
        explain(name, lambda name=name: apply_to(family(name)))
    narrow, network = random_networks({**SHARED, "block_out_channels": (32, 64, 96, 96)})
    explain("width", lambda: apply(as_model(narrow)))
    explain("latent of another family", lambda: apply_latent(torch.zeros(1, 16, 8, 8)))
    explain("video latent", lambda: apply_latent(torch.zeros(1, 4, 3, 8, 8)))
    explain("not a number", lambda: apply_latent(torch.full((1, 4, 8, 8), float("nan"))))
    explain("nobody", lambda: apply_latent(None))
    explain("range", lambda: apply(start_percent=0.5, end_percent=0.2))
    explain("text of another model", lambda: apply(text=conditioning(draw(1, 77, 128))))
    explain("too many", lambda: apply(reference=torch.zeros(33, 4, 8, 8)))
    explain("masks for other frames", lambda: sample(apply(mask=torch.ones(2, 64, 64))))
    attentive = lambda model: core_node("nodes_sag", "SelfAttentionGuidance", model, 0.5, 2.0)  # noqa: E731
    explain("attention replaced before", lambda: apply(attentive(MODEL)))
    explain("attention replaced after", lambda: sample(attentive(apply())))
    merged = lambda model: core_node("nodes_tomesd", "TomePatchModel", model, 0.3)  # noqa: E731
    explain("tokens merged under a mask", lambda: sample(merged(apply(mask=torch.ones(1, 64, 64)))))
    return said


def apply_to(model):
    return apply_latent(REFERENCE[:1], model)


def apply_latent(samples, model=MODEL):
    node = pack.NODE_CLASS_MAPPINGS["MagicDanceApplyAppearanceToModel"]()
    latent = None if samples is None else {"samples": samples}
    return node.apply(model, HELD, 1.0, 0.0, 1.0, "controlnet_important", reference=latent)[0]
