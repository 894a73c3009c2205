"""Derive the configurations of networks from the shapes of a file's tensors.

Names of tensors are without the prefix of the network. Every function raises KeyError with the name of a required
tensor that is missing, and InputError for a model of another family.
"""

from collections.abc import Iterator, Mapping
from itertools import count
from types import MappingProxyType

from ..errors import InputError

Shapes = dict[str, tuple[int, ...]]
HEADS = 8  # of every Stable Diffusion 1.x model; not visible in shapes
MAX_FRAMES_V1 = 24  # position embeddings of AnimateDiff v1
DEFAULT_MAX_FRAMES = 32  # of AnimateLCM, by its configuration: its files have no position embeddings


def unet_config(shapes: Shapes) -> dict:
    """Return the configuration of a UNet or an appearance network in the published layout."""
    config = _encoder_config(shapes)
    mirrored = [kind.replace("Down", "Up") for kind in reversed(config["down_block_types"])]
    return config | {"up_block_types": mirrored, "sample_size": 64}


def pose_config(shapes: Shapes) -> dict:
    """Return the configuration of a ControlNet, in the published layout or with diffusers' names."""
    if has_diffusers_names(shapes):
        return _diffusers_pose_config(shapes)
    hint = [shapes[name][0] for name in _numbered(shapes, "input_hint_block.{}.weight", step=2)]
    return _encoder_config(shapes) | {"conditioning_embedding_out_channels": hint[:-1:2]}


def has_diffusers_names(shapes: Shapes) -> bool:
    """Return whether a ControlNet's tensors have diffusers' names instead of the published layout's."""
    return "controlnet_cond_embedding.conv_in.weight" in shapes


def _diffusers_pose_config(shapes: Shapes) -> dict:
    names = list(_numbered(shapes, "down_blocks.{}.resnets.0.conv2.weight"))
    hint = [shapes["controlnet_cond_embedding.conv_in.weight"][0]]
    hint += [shapes[name][0] for name in _numbered(shapes, "controlnet_cond_embedding.blocks.{}.weight")]
    return _config(
        shapes,
        widths=[shapes[name][0] for name in names],
        attention=[f"down_blocks.{level}.attentions.0.norm.weight" in shapes for level in range(len(names))],
        layers=len(list(_numbered(shapes, "down_blocks.0.resnets.{}.conv2.weight"))),
    ) | {"conditioning_embedding_out_channels": [hint[0], *hint[2::2]]}


def vae_config(shapes: Shapes) -> dict:
    """Return the configuration of an autoencoder in the published layout."""
    widths = [shapes[name][0] for name in _numbered(shapes, "encoder.down.{}.block.0.conv1.weight")]
    return {
        "block_out_channels": widths,
        "down_block_types": ["DownEncoderBlock2D"] * len(widths),
        "up_block_types": ["UpDecoderBlock2D"] * len(widths),
        "layers_per_block": len(list(_numbered(shapes, "encoder.down.0.block.{}.conv1.weight"))),
        "latent_channels": shapes["post_quant_conv.weight"][0],
        "sample_size": 64 * 2 ** (len(widths) - 1),
        "scaling_factor": 0.18215,
    }


def motion_config(shapes: Shapes, stated: Mapping[str, object] = MappingProxyType({})) -> dict:
    """Return the configuration of a motion module with our names, trained like AnimateDiff's.

    stated: configuration of its folder, for heads and groups, which are not visible in shapes; by default those of all
    released modules.
    """
    norm = "down_blocks.{}.motion_modules.0.norm.weight"
    names = list(_numbered(shapes, norm))
    if not names:
        raise KeyError(norm.format(0))
    middle = any(name.startswith("mid_block.") for name in shapes)
    length = next((shape[1] for name, shape in shapes.items() if name.endswith(".pos_embed.pe")), DEFAULT_MAX_FRAMES)
    layers = [list(_numbered(shapes, f"down_blocks.{k}.motion_modules.{{}}.norm.weight")) for k in range(len(names))]
    return {
        "block_out_channels": [shapes[name][0] for name in names],
        "motion_layers_per_block": [len(found) for found in layers],
        "motion_num_attention_heads": stated.get("motion_num_attention_heads", HEADS),
        "motion_norm_num_groups": stated.get("motion_norm_num_groups", 32),
        "use_motion_mid_block": middle,
        "motion_max_seq_length": length,
        "norm_over_frames": length == MAX_FRAMES_V1 and not middle,
        "noise": "independent",
        "beta_schedule": "linear",
    }


def text_config(shapes: Shapes) -> dict:
    """Return the configuration of a CLIP text encoder; names without `text_model.`."""
    vocabulary, width = shapes["embeddings.token_embedding.weight"]
    return {
        "vocab_size": vocabulary,
        "hidden_size": width,
        "max_position_embeddings": shapes["embeddings.position_embedding.weight"][0],
        "intermediate_size": shapes["encoder.layers.0.mlp.fc1.weight"][0],
        "num_hidden_layers": len(list(_numbered(shapes, "encoder.layers.{}.mlp.fc1.weight"))),
        "num_attention_heads": width // 64 if width >= 512 else 4,
        "hidden_act": "quick_gelu",
    }


def _encoder_config(shapes: Shapes) -> dict:
    """Return the configuration shared by UNet, appearance network and ControlNet, from their encoder.

    Block 0 is a convolution; each level has residual blocks and, except the last level, a downsampler.
    """
    levels: list[list[int]] = [[]]
    for block in count(1):
        if f"input_blocks.{block}.0.op.weight" in shapes:
            levels.append([])
        elif f"input_blocks.{block}.0.out_layers.3.weight" in shapes:
            levels[-1].append(block)
        else:
            break
    if not all(levels):
        raise KeyError(f"input_blocks.{block}.0.out_layers.3.weight")
    return _config(
        shapes,
        widths=[shapes[f"input_blocks.{level[0]}.0.out_layers.3.weight"][0] for level in levels],
        attention=[f"input_blocks.{level[0]}.1.norm.weight" in shapes for level in levels],
        layers=len(levels[0]),
    )


def _config(shapes: Shapes, widths: list[int], attention: list[bool], layers: int) -> dict:
    linear = len(_first(shapes, ".proj_in.weight")) == 2
    context = _first(shapes, ".attn2.to_k.weight")[1]
    if linear and context in (1024, 2048):
        raise InputError("This is a Stable Diffusion 2 or XL model: give one made from Stable Diffusion 1.5.")
    return {
        "block_out_channels": widths,
        "down_block_types": ["CrossAttnDownBlock2D" if has else "DownBlock2D" for has in attention],
        "layers_per_block": layers,
        "cross_attention_dim": context,
        "attention_head_dim": HEADS,
        "use_linear_projection": linear,
    }


def _first(shapes: Shapes, ending: str) -> tuple[int, ...]:
    for name, shape in shapes.items():
        if name.endswith(ending):
            return shape
    raise KeyError(f"*{ending}")


def _numbered(shapes: Shapes, pattern: str, step: int = 1) -> Iterator[str]:
    """Yield the names of `pattern` with the numbers 0, step, 2 * step, ... until one is missing in the file."""
    for number in count(0, step):
        if (name := pattern.format(number)) not in shapes:
            return
        yield name
