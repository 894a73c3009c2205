"""The model that a run starts from: random networks, or weights from files."""

import dataclasses
from pathlib import Path

import torch
from diffusers import AutoencoderKL, ModelMixin, UNet2DConditionModel
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

MAX_WEIGHTS = 4_000_000_000  # of a random network; the UNet of Stable Diffusion 1.5 has 0.9 billion
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def starting_point(config: TrainingConfig) -> Components:
    """Return the model before the first step, on the CPU, without gradients.

    Networks that some stage trains, and the VAE, are float32; the others have the dtype `config.frozen`.
    Raises InputError if networks or files do not fit together.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        if config.networks:
            model = random_model(config, config.networks)
        else:
            assert config.start is not None
            model = loaded_model(config, config.start)
        _add_motion(config, model)
    for network in model.networks().values():
        network.requires_grad_(False)
    factor, unit = vae_scale_factor(model.vae), size_multiple(model.unet, model.vae)
    if config.data.size % unit:
        raise InputError(f"data.size is {config.data.size}: give a multiple of {unit} for these networks.")
    if config.data.bucket % unit:
        raise InputError(f"data.bucket is {config.data.bucket}: give a multiple of {unit} for these networks.")
    for stage in config.stages:
        if stage.crop % factor:
            raise InputError(f"stage {stage.name} has crop {stage.crop}: give a multiple of {factor} for this VAE.")
    if model.pose is not None and model.pose.pose_scale_factor != factor:
        raise InputError(
            f"The pose encoder scales down by {model.pose.pose_scale_factor} and the VAE by {factor}: give as many "
            "pose_channels as the VAE has levels."
        )
    for role in ("appearance", "pose"):
        control = getattr(model, role)
        for key in ("block_out_channels", "cross_attention_dim", "layers_per_block", "down_block_types"):
            if control is not None and _listed(control.config[key]) != _listed(model.unet.config[key]):
                found, wanted = control.config[key], model.unet.config[key]
                raise InputError(
                    f"The {ROLES[role].title} has {key} {found} and the UNet {wanted}: take both from one architecture."
                )
    return model


def _listed(value):
    return list(value) if isinstance(value, (list, tuple)) else value


def random_model(config: TrainingConfig, networks: NetworksConfig) -> Components:
    """Return a model of random networks, whose residual branches start at zero.

    Raises InputError if the networks do not fit together or are too large.
    """
    made = {name: _checked(name, getattr(networks, name)) for name in ("vae", "unet")}
    vae, unet = AutoencoderKL(**made["vae"]), UNet2DConditionModel(**made["unet"])
    use_source_attention(unet)
    add_temporal_hooks(unet)
    for network in (vae, unet):
        zero_residual_branches(network)
    pose = PoseControlNet.from_unet(unet, conditioning_embedding_out_channels=networks.pose_channels)
    appearance = AppearanceControlModel(**made["unet"])
    if unet.config.in_channels != vae.config.latent_channels:
        raise InputError("networks: unet.in_channels and vae.latent_channels differ: give both the same number.")
    if unet.config.cross_attention_dim != config.context[1]:
        raise InputError(
            "networks: unet.cross_attention_dim and the second number of context differ: give the same number."
        )
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
        path = Path(_location(networks.warm_start))
        if not path.exists():
            raise InputError(f"networks.warm_start: {path} does not exist: train that model first, or omit the key.")
        warm_start(model, load(path))
    return model


def warm_start(model: Components, source: Components) -> None:
    """Copy weights of the source's UNet, appearance and pose networks whose names and shapes agree.

    Raises InputError if these are less than half of a network's weights.
    """
    for role in ("unet", "appearance", "pose"):
        network, other = getattr(model, role), getattr(source, role)
        state, given = network.state_dict(), other.state_dict() if other is not None else {}
        fitting = {k: w.to(state[k].dtype) for k, w in given.items() if k in state and w.shape == state[k].shape}
        found, wanted = (sum(w.numel() for w in weights.values()) for weights in (fitting, state))
        if found < wanted / 2:
            raise InputError(
                f"networks.warm_start: {found} of {wanted} weights of the {ROLES[role].title} fit: "
                "give a model of the same widths."
            )
        network.load_state_dict(fitting, strict=False)


def _location(model: str) -> str | Path:
    """Return the path of a model; "embedded" stands for the embedded one."""
    return EMBEDDED if model == "embedded" else model


def _checked(role: str, config: dict) -> dict:
    """Return the checked configuration of a network. Raises InputError if it has unknown keys or too many weights."""
    values, where = ROLES[role].configured(config, f"networks.{role}"), f"networks.{role}"
    if unknown := sorted(map(str, set(config) - set(values))):
        raise InputError(f"{where}: the key {unknown[0]!r} is unknown: see configs/embedded.yaml.")
    weights = sum(weight.numel() for weight in ROLES[role].build(values, where).parameters())
    if weights > MAX_WEIGHTS:
        raise InputError(f"{where} has {weights / 1e9:.1f} billion weights: give at most {MAX_WEIGHTS / 1e9:.0f}.")
    return values


def loaded_model(config: TrainingConfig, start: StartConfig) -> Components:
    """Return the model of `start`; controls that no file holds are made from the UNet.

    Raises InputError if a file cannot be read or does not fit.
    """
    trained = {name for stage in config.stages for name in stage.train} | {"vae"}
    attached = {name for stage in config.stages for name in stage.controls}
    frozen = DTYPES[config.frozen]
    dtypes = {role: torch.float32 if role in trained else frozen for role in ("unet", "vae", "appearance", "pose")}
    model = load(_location(start.model), dtypes)
    if not config.data.captions:
        model.text_encoder = None  # model.context holds the encoded empty prompt
    elif model.text_encoder is None:
        raise InputError(f"data.captions is true, and {start.model} has no text encoder: give Stable Diffusion 1.5.")
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
        raise InputError(
            f"prediction_type is {config.prediction_type}, and {start.model} predicts {kind}: omit the key."
        )
    model.scheduler = published_scheduler(kind)
    model.defaults = model.defaults | config.defaults
    return model


def _add_motion(config: TrainingConfig, model: Components) -> None:
    """Add a motion module if a stage attaches one: that of `start.motion`, the model's, or a new one without effect."""
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


def trainable_networks(model: Components) -> dict[str, ModelMixin]:
    """Return what `StageConfig.train` can name: the networks, and the temporal decoder of the motion module."""
    part = None if model.motion is None else model.motion.temporal_decoder
    return model.networks() | ({} if part is None else {"temporal_decoder": part})


def with_stored_weights(config: TrainingConfig, model: Components) -> Components:
    """Return the model with frozen networks as their files hold them; training may have used lower precision."""
    if config.start is None or config.frozen == "float32":
        return model
    trained = {name for stage in config.stages for name in stage.train} | {"vae"}
    data = dataclasses.replace(config.data, captions=False)
    stored = loaded_model(dataclasses.replace(config, frozen="float32", data=data), config.start)
    return dataclasses.replace(model, **{n: net for n, net in stored.networks().items() if n not in trained})


def zero_residual_branches(network: nn.Module) -> None:
    """Set the last layer of every residual block and transformer to zero, so that they start as identities."""
    for name, module in network.named_modules():
        if name.endswith((".conv2", ".proj_out")):
            nn.init.zeros_(module.weight)
            nn.init.zeros_(module.bias)


def start_from_unet(unet: nn.Module, networks: dict[str, nn.Module]) -> None:
    """Copy the UNet's weights to the weights of the same names in other networks.

    The appearance network lacks the UNet's output layers. The pose network has the UNet's first half, and keeps its
    pose encoder and zero convolutions (paper section 4.3).
    """
    source = unet.state_dict()
    for network in networks.values():
        names = network.state_dict().keys()
        network.load_state_dict({k: v for k, v in source.items() if k in names}, strict=False)
