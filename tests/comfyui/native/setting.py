"""A UNet in the shape of Stable Diffusion 1.5 at a tenth of its width, with random weights, as ComfyUI's MODEL, and the
same weights in the core; inside ComfyUI's own modules.

The environment variable COMFYUI_PATH is its folder, PACK_FOLDER the pack's.
"""

import importlib
import importlib.util
import os
import sys
from pathlib import Path

pack_folder = os.environ["PACK_FOLDER"]
sys.argv[1:] = ["--cpu"]
sys.path.insert(0, os.environ["COMFYUI_PATH"])

import comfy.options  # noqa: E402

comfy.options.enable_args_parsing()
import comfy.model_detection  # noqa: E402
import comfy.model_patcher  # noqa: E402
import comfy.sample  # noqa: E402
import comfy.samplers  # noqa: E402
import comfy.supported_models  # noqa: E402
import torch  # noqa: E402
from comfy.patcher_extension import WrappersMP  # noqa: E402

NAME = pack_folder.replace(".", "_x_")
spec = importlib.util.spec_from_file_location(NAME, Path(pack_folder) / "__init__.py")
pack = importlib.util.module_from_spec(spec)
sys.modules[NAME] = pack
spec.loader.exec_module(pack)


def module(name: str):
    return importlib.import_module(f"{NAME}.{name}")


core, sampling = module("magicdance_core.models"), module("magicdance_core.sampling")
ROLES, memory = module("magicdance_core.checkpoints.roles").ROLES, module("nodes.comfy.memory")
InputError = module("magicdance_core.errors").InputError
CONTROL_MODES = module("magicdance_core.choices").CONTROL_MODES

WIDTHS = (32, 64, 128, 128)
SHARED = {
    "block_out_channels": WIDTHS,
    "down_block_types": ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
    "layers_per_block": 2,
    "cross_attention_dim": 64,
    "attention_head_dim": 8,
}
UP = ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3


def random_networks(shared: dict = SHARED):
    torch.manual_seed(0)
    unet = ROLES["unet"].kind(**shared, up_block_types=UP)
    core.use_source_attention(unet)
    appearance = ROLES["appearance"].kind(**shared, up_block_types=UP)
    for network in (unet, appearance):
        network.eval().requires_grad_(False)
    return unet, appearance


def published_names(role: str, network) -> dict[str, torch.Tensor]:
    state = network.state_dict()
    return {name: state[parameter].clone() for parameter, name in ROLES[role].names(network).items()}


def as_model(unet, dtype=torch.float32, cast=None):
    """A UNet of the core as ComfyUI's MODEL."""
    state = published_names("unet", unet)
    config = comfy.supported_models.SD15(comfy.model_detection.detect_unet_config(state, ""))
    config.set_inference_dtype(dtype, cast)
    model = config.get_model(state, "", device="cpu")
    model.load_model_weights(state, "")
    return comfy.model_patcher.ModelPatcher(model, load_device=torch.device("cpu"), offload_device=torch.device("cpu"))


UNET, NETWORK = random_networks()
MODEL = as_model(UNET)
HELD = memory.hold(NETWORK, "appearance")
CALLS: list[int] = []
NETWORK.register_forward_pre_hook(lambda *_: CALLS.append(1))

random = torch.Generator().manual_seed(1)
FRAMES, SIZE = 3, 8


def draw(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=random)


POSITIVE, NEGATIVE = draw(1, 77, 64), draw(1, 77, 64)
REFERENCE, NOISE = draw(2, 4, SIZE, SIZE), draw(FRAMES, 4, SIZE, SIZE)
EMPTY = torch.zeros(FRAMES, 4, SIZE, SIZE)


def apply(model=MODEL, reference=REFERENCE[:1], strength=1.0, mode=CONTROL_MODES[0], **more):
    """Apply the node; more: its other inputs, which have the defaults of the graph editor."""
    latent = {"samples": model.model.process_latent_out(reference)}
    node = pack.NODE_CLASS_MAPPINGS["MagicDanceApplyAppearanceToModel"]()
    inputs = {"appearance": HELD, "strength": strength, "start_percent": 0.0, "end_percent": 1.0} | more
    return node.apply(model=model, control_mode=mode, reference=latent, **inputs)[0]


def conditioning(text, **more) -> list:
    return [[text, more]]


def sample(model, sampler="euler", scheduler="normal", steps=2, cfg=3.0, positive=None, negative=None, **more):
    """Return clean latents, scaled as the UNet sees them, sampled as by KSampler."""
    CALLS.clear()
    latent = more.pop("latent", EMPTY)
    positive = conditioning(POSITIVE) if positive is None else positive
    negative = conditioning(NEGATIVE) if negative is None else negative
    samples = comfy.sample.sample(
        model, NOISE[: len(latent)], steps, cfg, sampler, scheduler, positive, negative, latent,
        disable_pbar=True, seed=5, **more,
    )  # fmt: skip
    return MODEL.model.process_latent_in(samples)


def relative(out: torch.Tensor, expected: torch.Tensor) -> float:
    return float((out.double() - expected.double()).norm() / expected.double().norm())


def core_node(file: str, name: str, *args):
    """Return the result of a node of comfy_extras."""
    node = getattr(importlib.import_module(f"comfy_extras.{file}"), name)
    return (node.execute if hasattr(node, "execute") else getattr(node(), node.FUNCTION))(*args)[0]


def recording(model, what, place=WrappersMP.DIFFUSION_MODEL):
    """A MODEL that notes something of each call of its UNet, and the notes."""
    notes = []

    def note(executor, *args, **kwargs):
        notes.append(what(args))
        return executor(*args, **kwargs)

    model = model.clone()
    model.add_wrapper_with_key(place, "test", note)
    return model, notes


class SameSigmas:
    """A scheduler for the core that takes exactly ComfyUI's steps (Euler's method, which DDIM without noise is)."""

    config = type("Config", (), {"prediction_type": "epsilon"})

    def __init__(self, sigmas: torch.Tensor, model_sampling):
        self.sigmas, self.model_sampling = sigmas, model_sampling
        whole = torch.isclose(sigmas[0], model_sampling.sigma_max)
        self.init_noise_sigma = (1 + sigmas[0] ** 2) ** 0.5 if whole else sigmas[0]

    def set_timesteps(self, steps: int) -> None:
        self.timesteps = self.model_sampling.timestep(self.sigmas[:-1]).long()
        self._next = iter(range(steps))

    def scale_model_input(self, x, timestep):
        (step,) = (self.timesteps == timestep).nonzero()
        return x / (self.sigmas[step] ** 2 + 1) ** 0.5

    def step(self, noise, timestep, x):
        step = next(self._next)
        return type("Step", (), {"prev_sample": x + noise * (self.sigmas[step + 1] - self.sigmas[step])})
