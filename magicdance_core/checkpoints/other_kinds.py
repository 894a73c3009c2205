"""Recognise files of networks that are often taken for the ones of this pack, to refuse them by their names."""

from collections.abc import Iterable

from ..errors import InputError

# A name or the beginning of a name of a tensor -> what has it. The first that matches counts.
_MARKS = {
    "lora_controlnet": "a control-LoRA",
    "difference": 'a "difference" ControlNet, which holds differences to one checkpoint',
    "lllite_": "a ControlNet-LLLite",
    "adapter.body.": "a T2I-Adapter",
    "body.0.": "a T2I-Adapter",
    "adapter.fuser": "a CoAdapter",
    "ip_adapter.": "an IP-Adapter",
    "image_proj.": "an IP-Adapter",
    "task_embedding": "a ControlNet Union for Stable Diffusion XL",
    "add_embedding.": "a ControlNet for Stable Diffusion XL",
    "label_emb.": "a ControlNet for Stable Diffusion XL",
    "control_model.label_emb.": "a ControlNet for Stable Diffusion XL",
    "double_blocks.": "a network for Flux",
    "transformer_blocks.": "a network for Stable Diffusion 3 or Flux",
    "lora_unet_": "a LoRA",
    "lora_te_": "a LoRA",
}
IMAGE_VARIATIONS = (
    "is Stable Diffusion Image Variations, whose UNet reads the CLIP embedding of a picture in place of a prompt; this "
    "is not supported: give Stable Diffusion 1.5."
)
_PICTURE_ENCODER = "cond_stage_model.model.visual."
_LORA_ENDINGS = (".lora_up.weight", ".lora_A.weight", ".lora_B.weight")


def refuse_other_kinds(names: Iterable[str], path: object) -> None:
    """Raise InputError that names the kind of a file's network, if it is one that is not read.

    names: of its tensors. path: of the file, in the message.
    """
    names = tuple(names)
    if any(name.startswith(_PICTURE_ENCODER) for name in names):
        raise InputError(f"{path} {IMAGE_VARIATIONS}")
    kind = next((kind for mark, kind in _MARKS.items() if any(name.startswith(mark) for name in names)), None)
    if kind is None and any(name.endswith(_LORA_ENDINGS) for name in names):
        kind = "a LoRA"
    if kind is None and any(name.endswith(".up") for name in names) and any(name.endswith(".down") for name in names):
        kind = "a control-LoRA"
    if kind:
        raise InputError(f"{path} is {kind}: give a whole ControlNet for Stable Diffusion 1.5 or a MagicDance model.")
