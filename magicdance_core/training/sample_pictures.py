"""Pictures of a training run: its first batch, and samples or reconstructions of held-out people."""

from dataclasses import replace

import torch
from PIL import Image
from torch import Tensor

from ..checkpoints import Components
from ..data.crops import central_crop, crop_picture
from ..data.data_config import DataConfig
from ..data.frame_sets import FrameSet
from ..data.latent_cache import frame_size
from ..data.picking import Picker
from ..data.samples import Batch, generator
from ..media import contact_sheet
from ..sampling import Placement, SamplingSettings, prepare, run, to_pil
from .config import StageConfig

PEOPLE, TARGETS, PANEL = 4, 2, 160
MAX_STEPS = 20
"""Largest number of denoising steps of a sampled picture."""


@torch.no_grad()
def batch_sheet(batch: Batch, model: Components) -> Image.Image:
    """Draw the first samples of a batch as the networks get them: reference, then pose map and target of some frames.

    Latents are decoded one at a time. Of a batch of the autoencoder the pictures are drawn.
    """
    if "poses" not in batch:
        rows = [list(map(_picture, images[: 2 * TARGETS])) for images in batch["images"][:PEOPLE]]
        return contact_sheet(rows, ["picture"] * len(rows[0]), PANEL)
    rows = []
    for person in range(min(PEOPLE, len(batch["poses"]))):
        targets = min(TARGETS, batch["poses"].shape[1])
        if "images" in batch:
            pictures = [_picture(image) for image in batch["images"][person, : targets + 1]]
        else:
            pictures = [_decoded(model, latent) for latent in batch["latents"][person, : targets + 1]]
        poses = [_picture(pose) for pose in batch["poses"][person, :targets]]
        rows.append([pictures[0], *(panel for pair in zip(poses, pictures[1:]) for panel in pair)])
    return contact_sheet(rows, ["reference", *["pose", "target"] * ((len(rows[0]) - 1) // 2)], PANEL)


@torch.no_grad()
def sampled_sheet(
    frames: FrameSet, data: DataConfig, stage: StageConfig, seed: int, model: Components, people: int
) -> Image.Image | None:
    """Draw held-out people in held-out poses: reference, pose, result, truth. None without a validation split.

    The people are always the same. The stage's controls are attached. Frames go through the networks one at a time, to
    take no more memory than training does.
    """
    if all(video.split != "validation" for video in frames.videos):
        return None
    picker = Picker(frames.videos, "validation", 1, 0, 0, seed)
    attached = replace(
        model,
        appearance=model.appearance if "appearance" in stage.controls else None,
        pose=model.pose if "pose" in stage.controls else None,
        motion=None,
    )
    settings = SamplingSettings(
        min(MAX_STEPS, model.defaults["num_inference_steps"]), frames_per_batch=1, decode_chunk_size=1
    )
    placement = Placement((model.unet.device, torch.float32), (model.vae.device, model.vae.dtype))
    rows = []
    for number in range(min(people, len(picker.numbers))):
        pick = picker(number, generator(seed, "grid", number))
        video = frames.videos[pick.video]
        size = frame_size(frames, data, pick.video)
        box = central_crop(video.width, video.height, size)
        pair = [frames.read(pick.video, frame) for frame in (pick.reference, *pick.targets)]
        reference, truth = (crop_picture(frame.image, box, size) for frame in pair)
        pose = crop_picture(pair[1].pose, box, size)
        noise = torch.Generator().manual_seed(seed)
        resolved, inputs = prepare(attached, settings, _unit(reference), _unit(pose), 1, generator=noise)
        sample = run(attached, resolved, inputs, _unit(pose), placement=placement)
        (result,) = to_pil(torch.cat(list(sample.frames)))
        rows.append([Image.fromarray(reference), Image.fromarray(pose), result, Image.fromarray(truth)])
    return contact_sheet(rows, ("reference", "pose", "result", "truth"), PANEL)


@torch.no_grad()
def reconstruction_sheet(
    frames: FrameSet, data: DataConfig, seed: int, model: Components, people: int
) -> Image.Image | None:
    """Draw held-out pictures and their reconstructions by the VAE. None without a validation split."""
    rows = []
    for number, video in enumerate(frames.videos):
        if video.split != "validation" or len(rows) == people:
            continue
        image = crop_picture(frames.read(number, 0).image, central_crop(video.width, video.height), (data.size,) * 2)
        unit = _unit(image).to(model.vae.device, model.vae.dtype)
        made = model.vae.decode(model.vae.encode(unit * 2 - 1).latent_dist.mode()).sample
        rows.append([Image.fromarray(image), *to_pil((made.float().cpu() / 2 + 0.5).clamp(0, 1))])
    return contact_sheet(rows, ("picture", "reconstruction"), PANEL) if rows else None


def _decoded(model: Components, latent: Tensor) -> Image.Image:
    scaled = (latent[None] / model.vae.config.scaling_factor).to(model.vae.device, model.vae.dtype)
    decoded = model.vae.decode(scaled).sample.float().cpu()
    return to_pil((decoded / 2 + 0.5).clamp(0, 1))[0]


def _picture(pixels: Tensor) -> Image.Image:
    return Image.fromarray(pixels.cpu().numpy())


def _unit(pixels) -> Tensor:
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 255
