"""The Pose ControlNet together with the reference, in ComfyUI's own nodes."""

import comfy.cldm.cldm
import comfy.controlnet
import comfy.model_detection
import comfy.ops
import comfy.samplers
import comfy.supported_models
import torch
from setting import (
    FRAMES,
    MODEL,
    NEGATIVE,
    NETWORK,
    NOISE,
    POSITIVE,
    REFERENCE,
    ROLES,
    SHARED,
    UNET,
    SameSigmas,
    apply,
    conditioning,
    core,
    published_names,
    random,
    relative,
    sample,
    sampling,
)

HINTS = torch.rand(FRAMES, 64, 64, 3, generator=random)


def random_pose():
    torch.manual_seed(2)
    pose = ROLES["pose"].kind(**SHARED).eval().requires_grad_(False)
    for name, weight in pose.named_parameters():
        if "controlnet_" in name:  # zero in a new ControlNet
            torch.nn.init.normal_(weight, std=0.1)
    return pose


POSE = random_pose()


def as_control_net():
    """As `load_controlnet_state_dict` does for a network of the published width."""
    state = published_names("pose", POSE)
    config = comfy.supported_models.SD15(comfy.model_detection.detect_unet_config(state, "")).unet_config
    config = {**config, "operations": comfy.ops.manual_cast, "dtype": torch.float32, "device": "cpu"}
    config.pop("out_channels", None)
    network = comfy.cldm.cldm.ControlNet(**config, hint_channels=3)
    network.load_state_dict(state)
    return comfy.controlnet.ControlNet(network, load_device=torch.device("cpu"), manual_cast_dtype=None)


def posed(hints=HINTS) -> list:
    """ComfyUI's Apply ControlNet; as published on the positive prompt only."""
    import nodes

    return nodes.ControlNetApplyAdvanced().apply_controlnet(
        conditioning(POSITIVE), conditioning(NEGATIVE), as_control_net(), hints, 1.0, 0.0, 1.0
    )


def pose() -> dict:
    """Reference and pose together against the core, both control modes, 5 steps."""
    report, hints = {}, POSE.encode_pose(HINTS.movedim(-1, 1))
    model_sampling = MODEL.get_model_object("model_sampling")
    for mode in ("controlnet_important", "balance"):
        positive, negative = posed()
        if mode == "controlnet_important":
            negative = None
        seen = sample(apply(mode=mode), "ddim", "ddim_uniform", steps=5, positive=positive, negative=negative)
        scheduled = comfy.samplers.calculate_sigmas(model_sampling, "ddim_uniform", 5)
        expected = sampling.denoise(
            core.Networks(UNET, NETWORK, POSE),
            SameSigmas(scheduled, model_sampling),
            sampling.SamplingSettings(len(scheduled) - 1, 3.0, mode),
            sampling.DenoisingInputs(
                sampling.noise_from_latents(NOISE), len(hints), POSITIVE, NEGATIVE,
                sampling.EncodedReference(REFERENCE[:1]), sampling.Hints.from_encoded(hints, POSITIVE),
            ),
        )  # fmt: skip
        report[mode] = relative(seen, expected)
    return report
