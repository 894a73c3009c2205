"""What a model consists of: one row a network. A new kind of network is a new row, and a field in `Components`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from accelerate import init_empty_weights
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel

from ..models import AppearanceControlModel, MotionModule, PoseControlNet, add_motion_slots, use_source_attention
from . import architecture, names


@dataclass(frozen=True)
class Role:
    """What one network is to a model, and to its files.

    name: of its field in `Components`. title: in sentences, after "the".
    make: configuration -> network. library: which defines its class, as diffusers' index of a folder says.
    prefix: of its tensors in the published layout. also: how other files call it, the beginning of a tensor that only
    it has -> its prefix there. config: shapes of its tensors there, without prefix -> configuration. names: network ->
    its parameters' names there, without prefix.
    folder: its own in a model's folder. weights: its file there, without .safetensors.
    required: no complete model is without it; the saved empty prompt may stand for a text tower. control: attached to
    the UNet, a backbone has none. samples: it runs while frames are made. stored_as: the role whose tensors files may
    hold in its place, more than the network keeps.
    """

    name: str
    title: str
    make: Callable[[dict], nn.Module]
    prefix: str
    config: Callable[[architecture.Shapes], dict]
    names: Callable[[nn.Module], dict[str, str]]
    folder: str
    also: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    library: str = "diffusers"
    weights: str = "diffusion_pytorch_model"
    required: bool = False
    control: bool = False
    samples: bool = True
    stored_as: str | None = None

    def build(self, config: dict) -> nn.Module:
        """The network without weights; its parameters take no memory."""
        with init_empty_weights():
            return self.make(config)


def _unet(config: dict) -> UNet2DConditionModel:
    unet = UNet2DConditionModel.from_config(config)
    use_source_attention(unet)
    add_motion_slots(unet)
    return unet


def _text_tower(config: dict) -> CLIPTextModel:
    return CLIPTextModel(CLIPTextConfig.from_dict(config))


_TABLE = (
    Role(
        name="unet",
        title="UNet",
        make=_unet,
        prefix="model.diffusion_model.",
        config=architecture.unet_config,
        names=names.unet_names,
        folder="unet",
        required=True,
    ),
    Role(
        name="vae",
        title="VAE",
        make=AutoencoderKL.from_config,
        prefix="first_stage_model.",
        config=architecture.vae_config,
        names=names.vae_names,
        folder="vae",
        required=True,
    ),
    Role(
        name="text_encoder",
        title="text tower",
        make=_text_tower,
        library="transformers",
        weights="model",
        prefix="cond_stage_model.transformer.text_model.",
        also={"cond_stage_model.transformer.embeddings.": "cond_stage_model.transformer."},
        config=architecture.text_config,
        names=names.text_names,
        folder="text_encoder",
        required=True,
        samples=False,
    ),
    Role(
        name="appearance",
        title="Appearance Control Model",
        make=AppearanceControlModel.from_config,
        library="magicdance_core",
        prefix="appearance_control_model.",
        also={"control_model.output_blocks.": "control_model."},  # after stage 1 of the published training
        config=architecture.unet_config,
        names=names.unet_names,
        folder="appearance_control_model",
        required=True,
        control=True,
        stored_as="unet",
    ),
    Role(
        name="pose",
        title="Pose ControlNet",
        make=PoseControlNet.from_config,
        library="magicdance_core",
        prefix="pose_control_model.",
        also={"control_model.zero_convs.": "control_model.", "zero_convs.": "", "controlnet_cond_embedding.": ""},
        config=architecture.pose_config,
        names=names.pose_names,
        folder="pose_control_model",
        required=True,
        control=True,
    ),
    Role(
        name="motion",
        title="motion module",
        make=MotionModule.from_config,
        library="magicdance_core",
        prefix="motion_module.",
        config=architecture.motion_config,
        names=names.motion_names,
        folder="motion_module",
        control=True,
    ),
)
ROLES = MappingProxyType({role.name: role for role in _TABLE})
"""All networks that a model may have, by name, in the order in which messages list them."""
