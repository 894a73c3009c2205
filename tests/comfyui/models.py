"""Small models that ComfyUI itself recognises as Stable Diffusion 1.5, with random weights, for the workflows."""

from pathlib import Path

import torch
from accelerate import init_empty_weights
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel

from magicdance_core.checkpoints import Components, save_published
from magicdance_core.models import AppearanceControlModel, MotionModule, PoseControlNet
from magicdance_core.sampling import published_scheduler
from magicdance_core.training.config import load_config
from magicdance_core.training.starting import starting_point

SHARED = {
    "block_out_channels": (320, 320),  # ComfyUI tells the family by this width and by that of the text
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "layers_per_block": 1,
    "cross_attention_dim": 768,
    "attention_head_dim": 8,
}
FULL = SHARED | {
    "block_out_channels": (320, 640, 1280, 1280),
    "down_block_types": ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
    "layers_per_block": 2,
}
VAE = {
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 2,
    "latent_channels": 4,
}
TEXT = {
    "vocab_size": 49408, "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12,
    "num_attention_heads": 12, "max_position_embeddings": 77, "hidden_act": "quick_gelu",
}  # fmt: skip


def published_components(shared: dict = SHARED) -> Components:
    """A complete published-layout model with random weights; `shared` tells the sizes of UNet and controls."""
    torch.manual_seed(0)
    up = [kind.replace("Down", "Up") for kind in reversed(shared["down_block_types"])]
    pose = PoseControlNet(**shared)
    for name, weight in pose.named_parameters():  # a new ControlNet's are zero: poses would not be seen
        if "controlnet_" in name and weight.dim() > 1 and not weight.is_meta:
            torch.nn.init.normal_(weight, std=0.2)
    return Components(
        unet=UNet2DConditionModel(**shared, up_block_types=up),
        vae=AutoencoderKL(**VAE),
        appearance=AppearanceControlModel(**shared, up_block_types=up),
        pose=pose,
        scheduler=published_scheduler(),
        text_encoder=CLIPTextModel(CLIPTextConfig(**TEXT)),
        context=torch.zeros(1, 77, 768),
    )


def full_components() -> Components:
    """2.29 billion random weights in float16, in the size of the published model; about 5 GB."""
    with init_empty_weights():
        components = published_components(FULL)
    random = torch.Generator().manual_seed(0)
    for network in (getattr(components, role) for role in ("unet", "vae", "appearance", "pose", "text_encoder")):
        weights = {}
        for name, weight in network.state_dict().items():
            value = torch.zeros(weight.shape, dtype=torch.float16)
            if weight.dim() > 1:
                value.uniform_(-1, 1, generator=random).mul_((3 / weight[0].numel()) ** 0.5)
            elif name.endswith("weight"):
                value += 1
            weights[name] = value
        network.load_state_dict(weights, assign=True)
    return components


def write_models(folder: Path, components: Components | None = None) -> None:
    """Everything that the workflows name, under ComfyUI's folder of models, in float16."""
    files = {
        "published": folder / "magicdance" / "model_state-110000.th",
        "checkpoint": folder / "checkpoints" / "v1-5-pruned-emaonly-fp16.safetensors",
        "merge": folder / "checkpoints" / "dreamshaper_8.safetensors",
        "pose": folder / "controlnet" / "control_v11p_sd15_openpose_fp16.safetensors",
        "lora": folder / "loras" / "blindbox_v1_mix.safetensors",
        "motion": folder / "animatediff_models" / "v3_sd15_mm.ckpt",
    }
    for file in files.values():
        file.parent.mkdir(parents=True, exist_ok=True)
    whole = folder / "whole.safetensors"
    save_published(whole, components or published_components(), torch.float16)
    state = load_file(whole)
    whole.unlink()
    controls = ("appearance_control_model.", "pose_control_model.")
    backbone = {name: tensor for name, tensor in state.items() if not name.startswith(controls)}
    pose = {name.replace("pose_", "", 1): state[name] for name in state if name.startswith("pose_control_model.")}
    save_file(backbone, files["checkpoint"])
    files["merge"].symlink_to(files["checkpoint"])
    save_file(pose, files["pose"])
    save_file(_lora(), files["lora"])
    torch.save(state, files["published"])
    motion = MotionModule.for_unet((components or published_components()).unet)
    state = motion.state_dict()  # a new module does next to nothing: a trained one's is to be seen
    torch.save(
        {name: (tensor * (2000 if "proj_out" in name else 1)).half() for name, tensor in state.items()}, files["motion"]
    )


def _lora() -> dict[str, torch.Tensor]:
    name = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"
    up, down = torch.randn(2, 320, 4).half()
    return {f"{name}.lora_up.weight": up, f"{name}.lora_down.weight": down.T.contiguous()}


def write_embedded(folder: Path) -> None:
    """A random stand-in for the embedded model."""
    model = starting_point(load_config("embedded", ["networks.warm_start=null"]))
    for network in model.networks().values():
        for weight in network.parameters():
            if weight.dim() > 1 and not weight.any():
                torch.nn.init.normal_(weight, std=0.05)
    save_published(folder, model)


def write_inputs(folder: Path) -> None:
    """Write what a user brings: example.png, a person, and dance.mp4, somebody dancing, with sound.

    Both are pose maps, so that the detector `drawn` finds people without weights.
    """
    import sys

    from PIL import Image

    from magicdance_core import media
    from magicdance_core.media.audio import add_audio
    from magicdance_core.pose.draw import draw_pose
    from magicdance_core.puppets import Choreography, Identity, puppet_keypoints

    sys.path.insert(0, str(Path(__file__).parents[1]))
    from sound_videos import write_source

    folder.mkdir(exist_ok=True)
    dance, identity = Choreography.from_seed(3), Identity.from_seed(4)
    maps = [Image.fromarray(draw_pose(puppet_keypoints(identity, dance.pose(4 * k), 512, 512))) for k in range(4)]
    media.write_picture(folder / "example.png", maps[0])
    with media.write_animation(folder / "silent.mp4", 10) as add:
        for picture in maps:
            add(picture)
    sound = write_source(folder / "sound.mp4", "mp4", "aac", seconds=1.0, beep=0.1)
    add_audio(folder / "dance.mp4", folder / "silent.mp4", sound)
