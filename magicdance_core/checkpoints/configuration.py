"""Configurations of networks, schedulers and defaults in files, checked before anything is built from them.

The classes of diffusers and transformers have more settings than models based on Stable Diffusion 1.5 use. The
dataclasses here list those in use with their limits; others must have the library's default. Unknown keys are ignored.
"""

import inspect
from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal

from pydantic import Field

from ..checks import shown
from ..errors import InputError
from ..schema import Configuration, ListOf, build, setting

MAX_LEVELS = 8
MAX_LAYERS = 64  # per level
MAX_LAYERS_IN_ALL = 128
MAX_CHANNELS = 65_536
MAX_MOTION_CHANNELS = 8192  # lower, for motion layers are allocated before they move to the meta device
MAX_DECODER_CHANNELS = 1024  # likewise; the decoder's temporal layers are convolutions

Activation = Literal["silu", "swish", "mish", "gelu", "relu"]
DownBlock = Literal["CrossAttnDownBlock2D", "DownBlock2D"]
UpBlock = Literal["CrossAttnUpBlock2D", "UpBlock2D"]
Channels = Annotated[int, Field(ge=1, le=MAX_CHANNELS)]
MotionChannels = Annotated[int, Field(ge=1, le=MAX_MOTION_CHANNELS)]
DecoderChannels = Annotated[int, Field(ge=1, le=MAX_DECODER_CHANNELS)]


@dataclass(frozen=True, kw_only=True)
class _Levels(Configuration):
    block_out_channels: ListOf[Channels] = setting([320, 640, 1280, 1280])
    layers_per_block: int = setting(2, ge=1, le=MAX_LAYERS)
    norm_num_groups: Channels = 32
    act_fn: Activation = "silu"

    def __post_init__(self):
        levels = len(self.block_out_channels)
        if not 1 <= levels <= MAX_LEVELS:
            raise InputError(f"block_out_channels has {levels} levels: give 1 to {MAX_LEVELS}.")
        if levels * self.layers_per_block > MAX_LAYERS_IN_ALL:
            raise InputError(
                f"{levels} levels have {self.layers_per_block} layers each: give at most {MAX_LAYERS_IN_ALL} in all."
            )
        for width in self.block_out_channels:
            if width % self.norm_num_groups:
                raise InputError(
                    f"block_out_channels has {width}, not a multiple of norm_num_groups ({self.norm_num_groups}): give "
                    "a model based on Stable Diffusion 1.5."
                )


@dataclass(frozen=True, kw_only=True)
class _Encoder(_Levels):
    """Configuration that UNet, appearance network and ControlNet share, with the defaults of diffusers."""

    in_channels: Channels = 4
    down_block_types: ListOf[DownBlock] = setting(["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"])
    attention_head_dim: Channels = 8
    cross_attention_dim: Channels = 1280
    use_linear_projection: bool = False
    upcast_attention: bool = False
    resnet_time_scale_shift: Literal["default", "scale_shift"] = "default"
    downsample_padding: int = setting(1, ge=0, le=1)
    mid_block_scale_factor: float = setting(1.0, ge=1e-6, le=1e6)
    norm_eps: float = setting(1e-5, ge=0, le=1)
    flip_sin_to_cos: bool = True
    freq_shift: int = setting(0, ge=0, le=0)

    def __post_init__(self):
        super().__post_init__()
        _same_levels(self, "down_block_types")
        if "CrossAttnDownBlock2D" not in self.down_block_types:
            raise InputError("down_block_types has no CrossAttnDownBlock2D: give one, for controls act on attention.")
        for width in self.block_out_channels:
            if width % self.attention_head_dim:
                raise InputError(
                    f"block_out_channels has {width}: give multiples of attention_head_dim ({self.attention_head_dim})."
                )


@dataclass(frozen=True, kw_only=True)
class UNetConfig(_Encoder):
    """Configuration of `UNet2DConditionModel` and `AppearanceControlModel`."""

    out_channels: Channels = 4
    up_block_types: ListOf[UpBlock] = setting(["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3)
    sample_size: int | None = setting(None, ge=1, le=8192)
    dropout: float = setting(0.0, ge=0, le=1)
    center_input_sample: bool = False
    resnet_out_scale_factor: float = setting(1.0, ge=1e-6, le=1e6)

    def __post_init__(self):
        super().__post_init__()
        _same_levels(self, "up_block_types")
        if "CrossAttnUpBlock2D" not in self.up_block_types:
            raise InputError("up_block_types has no CrossAttnUpBlock2D: give one, for controls act on attention.")


@dataclass(frozen=True, kw_only=True)
class PoseConfig(_Encoder):
    """Configuration of `PoseControlNet`."""

    conditioning_channels: int = setting(3, ge=3, le=3)
    conditioning_embedding_out_channels: ListOf[Channels] = setting([16, 32, 96, 256])
    controlnet_conditioning_channel_order: Literal["rgb", "bgr"] = "rgb"

    def __post_init__(self):
        super().__post_init__()
        if not 1 <= len(self.conditioning_embedding_out_channels) <= MAX_LEVELS:
            raise InputError(
                f"conditioning_embedding_out_channels has {len(self.conditioning_embedding_out_channels)} widths: "
                f"give 1 to {MAX_LEVELS}."
            )


@dataclass(frozen=True, kw_only=True)
class VAEConfig(_Levels):
    """Configuration of `AutoencoderKL`."""

    block_out_channels: ListOf[Channels] = setting([64])
    layers_per_block: int = setting(1, ge=1, le=MAX_LAYERS)
    in_channels: int = setting(3, ge=3, le=3)
    out_channels: int = setting(3, ge=3, le=3)
    latent_channels: Channels = 4
    down_block_types: ListOf[Literal["DownEncoderBlock2D"]] = setting(["DownEncoderBlock2D"])
    up_block_types: ListOf[Literal["UpDecoderBlock2D"]] = setting(["UpDecoderBlock2D"])
    sample_size: int = setting(32, ge=1, le=8192)
    scaling_factor: float = setting(0.18215, ge=1e-4, le=1e4)
    force_upcast: bool = True
    use_quant_conv: bool = True
    use_post_quant_conv: bool = True
    mid_block_add_attention: bool = True

    def __post_init__(self):
        super().__post_init__()
        _same_levels(self, "down_block_types", "up_block_types")


@dataclass(frozen=True, kw_only=True)
class MotionConfig(Configuration):
    """Configuration of `MotionModule`."""

    block_out_channels: ListOf[MotionChannels] = setting([320, 640, 1280, 1280])
    motion_layers_per_block: Any = 2
    motion_num_attention_heads: int = setting(8, ge=1, le=1024)
    motion_norm_num_groups: Channels = 32
    motion_max_seq_length: int = setting(32, ge=1, le=4096)
    use_motion_mid_block: bool = True
    norm_over_frames: bool = False
    noise: Literal["shared", "independent", "mixed", "free"] = "independent"
    beta_schedule: Literal["linear", "scaled_linear", "squaredcos_cap_v2"] = "linear"
    decoder_block_out_channels: ListOf[DecoderChannels] | None = None
    decoder_norm_num_groups: Channels = 32

    def __post_init__(self):
        layers, levels = self.motion_layers_per_block, len(self.block_out_channels)
        layers = list(layers) if isinstance(layers, (list, tuple)) else [layers] * levels
        if not 1 <= levels <= MAX_LEVELS or len(layers) != levels:
            raise InputError(
                f"block_out_channels has {levels} levels, motion_layers_per_block {len(layers)}: give equally many, "
                f"at most {MAX_LEVELS}."
            )
        if not all(type(count) is int and 0 <= count <= MAX_LAYERS for count in layers) or sum(layers) > MAX_LAYERS:
            raise InputError(f"motion_layers_per_block is {shown(layers)}: give at most {MAX_LAYERS} in all.")
        for width in self.block_out_channels:
            if width % self.motion_norm_num_groups or width % (2 * self.motion_num_attention_heads):
                raise InputError(
                    f"block_out_channels has {width}: give multiples of motion_norm_num_groups "
                    f"({self.motion_norm_num_groups}) and of twice motion_num_attention_heads "
                    f"({self.motion_num_attention_heads})."
                )
        decoder = self.decoder_block_out_channels or []
        if len(decoder) > MAX_LEVELS or any(width % self.decoder_norm_num_groups for width in decoder):
            raise InputError(
                f"decoder_block_out_channels is {shown(decoder)}: give at most {MAX_LEVELS} multiples of "
                f"decoder_norm_num_groups ({self.decoder_norm_num_groups})."
            )


@dataclass(frozen=True, kw_only=True)
class TextConfig(Configuration):
    """Configuration of `CLIPTextModel`. The empty prompt has 77 tokens, of which 49407 is the largest."""

    vocab_size: int = setting(49408, ge=49408, le=1_000_000)
    hidden_size: Channels = 512
    intermediate_size: int = setting(2048, ge=1, le=4 * MAX_CHANNELS)
    projection_dim: Channels = 512
    num_hidden_layers: int = setting(12, ge=1, le=MAX_LAYERS)
    num_attention_heads: int = setting(8, ge=1, le=1024)
    max_position_embeddings: int = setting(77, ge=77, le=MAX_CHANNELS)
    hidden_act: Literal["quick_gelu", "gelu", "gelu_new", "relu", "silu"] = "quick_gelu"
    layer_norm_eps: float = setting(1e-5, ge=0, le=1)
    bos_token_id: int | None = setting(49406, ge=0, le=1_000_000)
    eos_token_id: int | None = setting(49407, ge=0, le=1_000_000)
    pad_token_id: int | None = setting(1, ge=0, le=49407)

    def __post_init__(self):
        if self.hidden_size % self.num_attention_heads:
            raise InputError(
                f"hidden_size is {self.hidden_size}: give a multiple of num_attention_heads, "
                f"{self.num_attention_heads}."
            )


@dataclass(frozen=True, kw_only=True)
class SchedulerConfig(Configuration):
    """Configuration of the supported schedulers, which predict once per timestep."""

    num_train_timesteps: int = setting(1000, ge=1, le=10_000)
    beta_start: float = setting(0.0001, ge=1e-8, le=0.999)
    beta_end: float = setting(0.02, ge=1e-8, le=0.999)
    beta_schedule: Literal["linear", "scaled_linear", "squaredcos_cap_v2"] = "linear"
    prediction_type: Literal["epsilon", "v_prediction", "sample"] = "epsilon"
    timestep_spacing: Literal["leading", "trailing", "linspace"] = "leading"
    steps_offset: int = setting(0, ge=0, le=1000)
    set_alpha_to_one: bool = True
    rescale_betas_zero_snr: bool = False
    clip_sample: bool = False
    clip_sample_range: float = setting(1.0, ge=1e-3, le=1e3)
    thresholding: bool = False
    dynamic_thresholding_ratio: float = setting(0.995, ge=0, le=1)
    sample_max_value: float = setting(1.0, ge=1e-3, le=1e3)
    variance_type: Literal["fixed_small", "fixed_small_log", "fixed_large", "fixed_large_log"] | None = None
    solver_order: int = setting(2, ge=1, le=3)
    solver_type: Literal["midpoint", "heun", "bh1", "bh2", "logrho"] = "midpoint"
    algorithm_type: Literal["dpmsolver++", "sde-dpmsolver++", "dpmsolver", "sde-dpmsolver", "deis"] = "dpmsolver++"
    predict_x0: bool = True
    lower_order_final: bool = True
    euler_at_final: bool = False
    final_sigmas_type: Literal["zero", "sigma_min"] = "zero"
    interpolation_type: Literal["linear", "log_linear"] = "linear"
    timestep_type: Literal["discrete"] = "discrete"
    use_karras_sigmas: bool = False
    use_exponential_sigmas: bool = False
    use_beta_sigmas: bool = False
    use_lu_lambdas: bool = False
    skip_prk_steps: bool = False

    def __post_init__(self):
        if self.beta_start > self.beta_end:
            raise InputError(f"beta_start is {self.beta_start}: give at most beta_end ({self.beta_end}).")
        if self.rescale_betas_zero_snr and self.prediction_type == "epsilon":
            raise InputError("rescale_betas_zero_snr is true and prediction_type epsilon: set one of them differently.")
        if self.steps_offset >= self.num_train_timesteps:
            raise InputError(
                f"steps_offset is {self.steps_offset}: give less than num_train_timesteps ({self.num_train_timesteps})."
            )


@dataclass(frozen=True)
class Defaults(Configuration):
    """Default settings of a model: steps, guidance, and the side of a square picture in pixels."""

    num_inference_steps: int = setting(50, ge=1, le=1000)
    guidance_scale: float = setting(7.0, ge=0, le=100)
    sample_size: int = setting(512, ge=8, le=4096)


def checked(kind: type, config: object, where: str, library: type | None = None) -> dict:
    """Return the values of `config` that a class of a library can be built with.

    kind: the dataclass here that lists them. library: the class; None ignores keys that `kind` does not list.
    where: names the source in messages. Raises InputError that names the key, its value and what to write.
    """
    if not isinstance(config, dict) or not all(isinstance(key, str) for key in config):
        raise InputError(f"{where} is not a configuration: give keys and values.")
    known = {f.name for f in fields(kind)}
    takes = {} if library is None else inspect.signature(library.__init__).parameters
    values = {key: value for key, value in config.items() if key in known and (library is None or key in takes)}
    for key, parameter in takes.items():
        if key in config and key not in values and not _equal(config[key], parameter.default):
            raise InputError(
                f"{where}: {key} is {shown(config[key])!r}, and only {parameter.default!r} is supported: "
                "give a model based on Stable Diffusion 1.5."
            )
    made = build(kind, values, where)
    return {key: getattr(made, key) for key in values}


def defaults(values: object, where: str) -> dict:
    """Return the `Defaults` in a file, with the published values for missing keys."""
    given = checked(Defaults, {} if values is None else values, where)
    return {f.name: given.get(f.name, f.default) for f in fields(Defaults)}


def _equal(value: object, default: object) -> bool:
    """Return whether values are equal in JSON, which has lists for tuples."""
    if isinstance(default, (list, tuple)) and isinstance(value, (list, tuple)):
        return list(value) == list(default)
    return type(value) in (type(default), int, float) and value == default


def _same_levels(config: Any, *names: str) -> None:
    levels = len(config.block_out_channels)
    for name in names:
        if len(types := getattr(config, name)) != levels:
            raise InputError(
                f"{name} has {len(types)} entries: give one for each of the {levels} levels of block_out_channels."
            )
