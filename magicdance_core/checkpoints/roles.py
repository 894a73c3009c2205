"""The networks of a model, as a table. A new kind of network needs a row here and a field in `Components`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import torch
from accelerate import init_empty_weights
from diffusers import AutoencoderKL, ModelMixin, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

from ..models import AppearanceControlModel, MotionModule, PoseControlNet, add_temporal_hooks, use_source_attention
from . import architecture, names
from .configuration import MotionConfig, PoseConfig, TextConfig, UNetConfig, VAEConfig, checked


@dataclass(frozen=True)
class Role:
    """A kind of network: its class, its configuration, and where it is in files.

    name: of its field in `Components`. title: its name in messages, after "the".
    kind: its class. settings: the schema of its configuration. library: that defines its class, as in diffusers'
    model_index.json.
    prefix: of its tensors in the published layout. also: alternatives in other files, prefix of a tensor that only this
    network has -> prefix of its tensors. config: shapes of its tensors without prefix -> configuration. names: network
    -> names of its parameters without prefix.
    folder: its subfolder in a model's folder. weights: its file there, without .safetensors.
    required: part of every complete model (a saved empty prompt can replace the text encoder). control: attached to
    the UNet. samples: runs during sampling. stored_as: the role whose complete tensors files contain in its place,
    although the network keeps only some of them.
    """

    name: str
    title: str
    kind: type[ModelMixin]
    settings: type
    prefix: str
    config: Callable[[architecture.Shapes], dict]
    names: Callable[[ModelMixin], dict[str, str]]
    folder: str
    also: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    library: str = "diffusers"
    weights: str = "diffusion_pytorch_model"
    required: bool = False
    control: bool = False
    samples: bool = True
    stored_as: str | None = None

    def configured(self, config: object, where: str) -> dict:
        """Return a checked configuration. where: the file, in messages. Raises InputError if it is invalid."""
        return checked(self.settings, config, where, self.kind if self.library != "transformers" else None)

    def build(self, config: object, where: str = "The configuration") -> ModelMixin:
        """Return the network without weights, which takes no memory. Raises InputError for a wrong configuration."""
        values = self.configured(config, where)
        # The position embeddings of a motion module are computed, as some files lack them.
        with init_empty_weights() if self.kind is MotionModule else torch.device("meta"):
            network = self.kind(CLIPTextConfig(**values)) if self.library == "transformers" else self.kind(**values)
        if self.kind is UNet2DConditionModel:
            use_source_attention(network)
            add_temporal_hooks(network)
        if self.kind is CLIPTextModel:
            _fill_position_ids(network)
        return network


def _fill_position_ids(text_encoder: CLIPTextModel) -> None:
    """Fill the only buffer of the text encoder, which files need not have."""
    for module in text_encoder.modules():
        if "position_ids" in dict(module.named_buffers(recurse=False)):
            numbers = torch.arange(text_encoder.config.max_position_embeddings)[None]
            module.register_buffer("position_ids", numbers, persistent=False)


_TABLE = (
    Role(
        name="unet",
        title="UNet",
        kind=UNet2DConditionModel,
        settings=UNetConfig,
        prefix="model.diffusion_model.",
        config=architecture.unet_config,
        names=names.unet_names,
        folder="unet",
        required=True,
    ),
    Role(
        name="vae",
        title="VAE",
        kind=AutoencoderKL,
        settings=VAEConfig,
        prefix="first_stage_model.",
        config=architecture.vae_config,
        names=names.vae_names,
        folder="vae",
        required=True,
    ),
    Role(
        name="text_encoder",
        title="text encoder",
        kind=CLIPTextModel,
        settings=TextConfig,
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
        kind=AppearanceControlModel,
        settings=UNetConfig,
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
        kind=PoseControlNet,
        settings=PoseConfig,
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
        kind=MotionModule,
        settings=MotionConfig,
        library="magicdance_core",
        prefix="motion_module.",
        config=architecture.motion_config,
        names=names.motion_names,
        folder="motion_module",
        control=True,
    ),
)
ROLES = MappingProxyType({role.name: role for role in _TABLE})
"""All networks that a model may have, by name, in the order of messages."""
