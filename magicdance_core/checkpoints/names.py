"""Map parameter names from diffusers' (ours) to the published layout, which is that of Stable Diffusion 1.x."""

import re

from diffusers import ModelMixin
from transformers import CLIPTextModel

RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
UNET = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "mid_block.attentions.0": "middle_block.1",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
VAE = {
    "conv_shortcut": "nin_shortcut",
    "conv_norm_out": "norm_out",
    "mid_block.resnets.0": "mid.block_1",
    "mid_block.resnets.1": "mid.block_2",
    "mid_block.attentions.0.group_norm": "mid.attn_1.norm",
    "mid_block.attentions.0.to_q": "mid.attn_1.q",
    "mid_block.attentions.0.to_k": "mid.attn_1.k",
    "mid_block.attentions.0.to_v": "mid.attn_1.v",
    "mid_block.attentions.0.to_out.0": "mid.attn_1.proj_out",
}
MOTION = {  # AnimateDiff's -> diffusers'
    ".temporal_transformer.": ".",
    ".attention_blocks.0.pos_encoder.pe": ".pos_embed.pe",  # both attentions of a block have the same table
    ".attention_blocks.0.": ".attn1.",
    ".attention_blocks.1.": ".attn2.",
    ".norms.0.": ".norm1.",
    ".norms.1.": ".norm2.",
    ".ff_norm.": ".norm3.",
}
MOTION_LAYER = re.compile(
    r"(?:.*\.)?((?:(?:down_blocks\.\d+|mid_block|up_blocks\.\d+)\.motion_modules|temporal_decoder\.layers)\..+)"
)
UNET_BLOCK = re.compile(r"(down|up)_blocks\.(\d+)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.(.+)")
VAE_BLOCK = re.compile(r"(\w+)\.(down|up)_blocks\.(\d+)\.(resnets|downsamplers|upsamplers)\.(\d+)\.(.+)")


def unet_names(unet: ModelMixin) -> dict[str, str]:
    """Return published names of the parameters of a UNet or an appearance network, which has fewer."""
    return {name: _unet_name(name, unet.config) for name in unet.state_dict()}


def pose_names(pose: ModelMixin) -> dict[str, str]:
    """Return published names of the parameters of a ControlNet; its encoder is named like the UNet's."""
    hint = len(pose.config.conditioning_embedding_out_channels)

    def translate(name: str) -> str:
        name = re.sub(r"^controlnet_down_blocks\.(\d+)\.", r"zero_convs.\1.0.", name)
        name = re.sub(r"^controlnet_mid_block\.", "middle_block_out.0.", name)
        name = name.replace("controlnet_cond_embedding.conv_in.", "input_hint_block.0.")
        name = name.replace("controlnet_cond_embedding.conv_out.", f"input_hint_block.{4 * hint - 2}.")
        return re.sub(
            r"^controlnet_cond_embedding\.blocks\.(\d+)\.",
            lambda match: f"input_hint_block.{2 * int(match[1]) + 2}.",
            name,
        )

    return {name: _unet_name(translate(name), pose.config) for name in pose.state_dict()}


def vae_names(vae: ModelMixin) -> dict[str, str]:
    """Return published names of the parameters of an AutoencoderKL."""
    return {name: _vae_name(name, len(vae.config.block_out_channels)) for name in vae.state_dict()}


def text_names(text_encoder: CLIPTextModel) -> dict[str, str]:
    """Return names of a CLIP text encoder without `text_model.`, which files have and transformers 5 does not."""
    return {name: name.removeprefix("text_model.") for name in text_encoder.state_dict()}


def motion_names(motion: ModelMixin) -> dict[str, str]:
    """Return names of a motion module, which are the same in files."""
    return {name: name for name in motion.state_dict()}


def motion_name(name: str) -> str | None:
    """Return our name of a tensor of AnimateDiff's, diffusers' or our motion modules; None for other tensors."""
    match = MOTION_LAYER.fullmatch(name)
    if match is None:
        return None
    name = match[1]
    for theirs, ours in MOTION.items():
        name = name.replace(theirs, ours)
    return name


def _unet_name(name: str, config) -> str:
    if match := UNET_BLOCK.match(name):
        side, level, kind, index, rest = match[1], int(match[2]), match[3], int(match[4]), match[5]
        layers, slot = config.layers_per_block, 0
        if kind == "resnets":
            rest = _rename(rest, RESNET)
        elif kind == "attentions":
            slot = 1
        elif kind == "downsamplers":
            index, rest = layers, rest.replace("conv.", "op.")
        else:
            index, slot = layers, 2 if "CrossAttn" in config.up_block_types[level] else 1
        half, first = ("input", 1) if side == "down" else ("output", 0)
        return f"{half}_blocks.{first + level * (layers + 1) + index}.{slot}.{rest}"
    if match := re.match(r"mid_block\.resnets\.(\d)\.(.+)", name):
        return f"middle_block.{2 * int(match[1])}.{_rename(match[2], RESNET)}"
    return _rename(name, UNET)


def _vae_name(name: str, levels: int) -> str:
    if match := VAE_BLOCK.match(name):
        half, side, level, kind, index, rest = match[1], match[2], int(match[3]), match[4], match[5], match[6]
        level = level if side == "down" else levels - 1 - level  # the published decoder counts from the picture
        part = f"block.{index}" if kind == "resnets" else f"{side}sample"
        name = f"{half}.{side}.{level}.{part}.{rest}"
    for ours, theirs in VAE.items():
        name = name.replace(f"{ours}.", f"{theirs}.")
    return name


def _rename(name: str, table: dict[str, str]) -> str:
    for ours, theirs in table.items():
        if name.startswith(f"{ours}."):
            return theirs + name[len(ours) :]
    return name
