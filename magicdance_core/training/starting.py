"""The networks that a run starts from: random, or somebody's weights."""

import dataclasses
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import nn

from ..checkpoints import EMBEDDED, ROLES, Components, load, load_control, load_motion
from ..errors import InputError
from ..models import (
    AppearanceControlModel,
    MotionModule,
    PoseControlNet,
    add_temporal_hooks,
    check_motion_fits,
    size_multiple,
    use_source_attention,
    vae_scale_factor,
)
from ..models.stable_diffusion import POSE_CHANNELS
from ..schedule import published_scheduler
from .config import NetworksConfig, StartConfig, TrainingConfig

MAX_WEIGHTS = 4_000_000_000  # of a network at random; Stable Diffusion 1.5's UNet has 0.9

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def starting_point(config: TrainingConfig) -> Components:
    """The model before the first step, on the CPU, nothing of it learning yet.

    Networks that some stage trains, and the VAE, are float32; the others have the dtype `config.frozen`.
    Raises InputError where the configuration or its files do not make a model.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = random_model(config, config.networks) if config.networks else given_model(config, config.start)
        _add_motion(config, model)
    for network in model.networks().values():
        network.requires_grad_(False)
    factor, unit = vae_scale_factor(model.vae), size_multiple(model.unet, model.vae)
    if config.data.size % unit:
        raise InputError(f"data: size is {config.data.size}: these networks take multiples of {unit}.")
    if model.pose is not None and model.pose.pose_scale_factor != factor:
        raise InputError(f"The pose encoder shrinks {model.pose.pose_scale_factor} times and the VAE {factor} times.")
    for role in ("appearance", "pose"):
        control = getattr(model, role)
        for key in ("block_out_channels", "cross_attention_dim", "layers_per_block", "down_block_types"):
            if control is not None and _listed(control.config[key]) != _listed(model.unet.config[key]):
                found, wanted = control.config[key], model.unet.config[key]
                raise InputError(
                    f"The {ROLES[role].title} is of another architecture than the UNet ({key} {found}, not {wanted}): "
                    "take both from one family."
                )
    return model


def _listed(value):
    return list(value) if isinstance(value, (list, tuple)) else value


def random_model(config: TrainingConfig, networks: NetworksConfig) -> Components:
    """Networks at random; residual branches start at zero, as identities."""
    made = {name: _checked(name, getattr(networks, name)) for name in ("vae", "unet")}
    vae, unet = AutoencoderKL(**made["vae"]), UNet2DConditionModel(**made["unet"])
    use_source_attention(unet)
    add_temporal_hooks(unet)
    for network in (vae, unet):
        silence_residual_branches(network)
    pose = PoseControlNet.from_unet(unet, conditioning_embedding_out_channels=networks.pose_channels)
    appearance = AppearanceControlModel(**made["unet"])
    if unet.config.in_channels != vae.config.latent_channels:
        raise InputError("networks: unet.in_channels and vae.latent_channels differ: give one number.")
    if unet.config.cross_attention_dim != config.context[1]:
        raise InputError("networks: unet.cross_attention_dim and the second number of context differ: give one.")
    start_from_unet(unet, {"appearance": appearance})
    scheduler = published_scheduler(config.prediction_type or "epsilon")
    defaults = {"num_inference_steps": 20, "guidance_scale": 1.5, "sample_size": config.data.size} | config.defaults
    model = Components(
        unet=unet,
        vae=vae,
        appearance=appearance,
        pose=pose,
        scheduler=scheduler,
        text_encoder=None,
        context=torch.zeros(1, *config.context),
        defaults=defaults,
    )
    if networks.warm_start:
        place = Path(_place(networks.warm_start))
        if not place.exists():
            raise InputError(
                f"networks.warm_start: {place} is not there; train that model first, or leave the key out."
            )
        warm_start(model, load(place))
    return model


def warm_start(model: Components, source: Components) -> None:
    """Weights of the source's UNet, appearance and pose networks, wherever name and shape agree.

    Raises InputError where a network finds less than half of its weights.
    """
    for role in ("unet", "appearance", "pose"):
        network, lender = getattr(model, role), getattr(source, role)
        own, lent = network.state_dict(), lender.state_dict() if lender is not None else {}
        fitting = {k: w.to(own[k].dtype) for k, w in lent.items() if k in own and w.shape == own[k].shape}
        found, wanted = (sum(w.numel() for w in weights.values()) for weights in (fitting, own))
        if found < wanted / 2:
            raise InputError(
                f"networks.warm_start: {found} of {wanted} weights of the {ROLES[role].title} fit: "
                "give a model of the same widths."
            )
        network.load_state_dict(fitting, strict=False)


def _place(model: str) -> str | Path:
    """Where a model of a configuration lies."""
    return EMBEDDED if model == "embedded" else model


def _checked(role: str, config: dict) -> dict:
    """What is told of a network, which fits into a computer. Raises InputError else."""
    values, where = ROLES[role].configured(config, f"networks.{role}"), f"networks.{role}"
    if unknown := sorted(map(str, set(config) - set(values))):
        raise InputError(f"{where}: the key {unknown[0]!r} is unknown: compare configs/embedded.yaml.")
    weights = sum(weight.numel() for weight in ROLES[role].build(values, where).parameters())
    if weights > MAX_WEIGHTS:
        raise InputError(f"{where} has {weights / 1e9:.1f} billion weights: give at most {MAX_WEIGHTS / 1e9:.0f}.")
    return values


def given_model(config: TrainingConfig, start: StartConfig) -> Components:
    """Weights of files; controls that are nowhere are made from the UNet."""
    trained = {name for stage in config.stages for name in stage.train} | {"vae"}
    attached = {name for stage in config.stages for name in stage.controls}
    frozen = DTYPES[config.frozen]
    dtypes = {role: torch.float32 if role in trained else frozen for role in ("unet", "vae", "appearance", "pose")}
    model = load(_place(start.model), dtypes)
    if not config.data.captions:
        model.text_encoder = None  # its one answer is in model.context
    elif model.text_encoder is None:
        raise InputError(f"data.captions is true, and {start.model} has no text tower: give Stable Diffusion 1.5.")
    for role in ("appearance", "pose"):
        if path := getattr(start, role):
            setattr(model, role, load_control(path, role, dtypes[role]))
    if model.appearance is None and "appearance" in attached:
        model.appearance = AppearanceControlModel.from_config(model.unet.config).to(dtypes["appearance"])
        start_from_unet(model.unet, {"appearance": model.appearance})
    if model.pose is None and "pose" in attached:
        levels = len(model.vae.config.block_out_channels)
        channels = (POSE_CHANNELS * 2)[:levels] if levels > len(POSE_CHANNELS) else POSE_CHANNELS[:levels]
        model.pose = PoseControlNet.from_unet(model.unet, conditioning_embedding_out_channels=channels)
        model.pose.to(dtypes["pose"])
    kind = model.scheduler.config.prediction_type
    if config.prediction_type not in (None, kind):
        raise InputError(f"prediction_type is {config.prediction_type}, but {start.model} was trained with {kind}.")
    model.scheduler = published_scheduler(kind)
    model.defaults = model.defaults | config.defaults
    return model


def _add_motion(config: TrainingConfig, model: Components) -> None:
    """A motion module where a stage attaches one: the given one, the model's own, or a new one that changes nothing."""
    if not any("motion" in stage.controls for stage in config.stages):
        return
    if config.start and config.start.motion:
        model.motion = load_motion(config.start.motion)
        check_motion_fits(model.unet, model.vae, model.motion)
    model.motion = model.motion or MotionModule.for_unet(model.unet).zero_init()
    if model.motion.temporal_decoder is None and any("temporal_decoder" in stage.train for stage in config.stages):
        model.motion.add_temporal_decoder(model.vae)
    model.motion.float()
    learning = [stage for stage in config.stages if "motion" in stage.train]
    if learning:
        kinds = set(learning[-1].noises) or {"independent"}
        noise = kinds.pop() if len(kinds) == 1 else "mixed"
        model.motion.register_to_config(noise=noise, beta_schedule=model.scheduler.config.beta_schedule)


def learners(model: Components) -> dict[str, nn.Module]:
    """What a stage can train, by name: the networks, and after them the part of one that learns on its own."""
    part = None if model.motion is None else model.motion.temporal_decoder
    return model.networks() | ({} if part is None else {"temporal_decoder": part})


def with_stored_weights(config: TrainingConfig, model: Components) -> Components:
    """The model with its frozen networks as their files have them, where training ran them in fewer bits."""
    if config.start is None or config.frozen == "float32":
        return model
    trained = {name for stage in config.stages for name in stage.train} | {"vae"}
    data = dataclasses.replace(config.data, captions=False)
    stored = given_model(dataclasses.replace(config, frozen="float32", data=data), config.start)
    return dataclasses.replace(model, **{n: net for n, net in stored.networks().items() if n not in trained})


def silence_residual_branches(network: nn.Module) -> None:
    """Zero the last layer of every residual block and transformer: depth then costs no signal at the start."""
    for name, module in network.named_modules():
        if name.endswith((".conv2", ".proj_out")):
            nn.init.zeros_(module.weight)
            nn.init.zeros_(module.bias)


def start_from_unet(unet: nn.Module, networks: dict[str, nn.Module]) -> None:
    """Copy the UNet's weights into networks, wherever both have a tensor of that name.

    The appearance network lacks the UNet's end; the pose network has the UNet's first half, and keeps its own
    pose encoder and zero convolutions (paper section 4.3).
    """
    source = unet.state_dict()
    for network in networks.values():
        own = network.state_dict().keys()
        network.load_state_dict({k: v for k, v in source.items() if k in own}, strict=False)
