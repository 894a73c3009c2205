"""ComfyUI's services: memory, dtypes, progress, previews, interruption, model folders.

The only file that imports ComfyUI, and only inside functions, so that every node can be imported without it.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from comfy.model_patcher import ModelPatcher
    from torch import Tensor, nn

    from .model import MagicDanceModel

FOLDER = "magicdance"
EXTENSIONS = {".th", ".safetensors", ".sft", ".ckpt", ".pth", ".pt", ".bin"}
DETECTOR_FOLDER = "magicdance_pose"
DETECTOR_EXTENSIONS = {".pth", ".onnx"}
DETECTOR_MEMORY = 2.0**29  # bytes of activations that a pose detector needs for a picture
UNETS, VAE = ("unet", "appearance", "pose"), "vae"
PUBLISHED_PARAMETERS = 2_081_000_000  # of UNet, Appearance Control Model and Pose ControlNet together
PREVIEW_SIDE = 256
EXAMPLE = " [example]"  # after the name of a file that comes with the pack, as ComfyUI writes [input] and [output]


# ------------------------------------------------------------------------------------------- model folders


def register_model_folder() -> None:
    """Make `models/magicdance` and `models/magicdance_pose` known, beside what `extra_model_paths.yaml` has put.

    Pose detectors are also looked for where comfyui_controlnet_aux, if it is there, keeps what it has downloaded.
    """
    import folder_paths

    for folder, extensions in ((FOLDER, EXTENSIONS), (DETECTOR_FOLDER, DETECTOR_EXTENSIONS)):
        folder_paths.add_model_folder_path(folder, os.path.join(folder_paths.models_dir, folder))
        folder_paths.folder_names_and_paths[folder][1].update(extensions)
    for packs in folder_paths.get_folder_paths("custom_nodes"):
        downloads = os.path.join(packs, "comfyui_controlnet_aux", "ckpts")
        if os.path.isdir(downloads):
            folder_paths.add_model_folder_path(DETECTOR_FOLDER, downloads)


def list_files(*keys: str) -> list[str]:
    """The model files of ComfyUI's folders, each name once."""
    import folder_paths

    return list(dict.fromkeys(name for key in keys for name in folder_paths.get_filename_list(key)))


def list_folders(*keys: str) -> list[str]:
    """The diffusers folders (those with a model_index.json) below ComfyUI's folders."""
    import folder_paths

    found = {}
    for base in (base for key in keys for base in folder_paths.get_folder_paths(key)):
        for root, _, files in os.walk(base, followlinks=True):
            if "model_index.json" in files:
                found[os.path.relpath(root, base)] = None
    return sorted(found)


def list_magicdance() -> list[str]:
    """Files and model folders in `models/magicdance`, without the files that a model folder consists of."""
    folders = list_folders(FOLDER)
    parts = tuple(folder + os.sep for folder in folders)
    return [name for name in list_files(FOLDER) if not name.startswith(parts)] + folders


def find_model(name: str, *keys: str) -> Path | None:
    """Where a name of `list_files` or `list_folders` is on the disk; the first of `keys` that has it."""
    import folder_paths

    for key in keys:
        if path := folder_paths.get_full_path(key, name):
            return Path(path)
        for base in folder_paths.get_folder_paths(key):
            if (Path(base) / name / "model_index.json").is_file():
                return Path(base) / name
    return None


def detector_folder(file: str | None) -> Path:
    """Where a detector's file is, at any depth; where it should be if there is none."""
    import folder_paths

    names = folder_paths.get_filename_list(DETECTOR_FOLDER)
    if found := next((name for name in names if os.path.basename(name) == file), None):
        return Path(folder_paths.get_full_path_or_raise(DETECTOR_FOLDER, found)).parent
    return Path(folder_paths.get_folder_paths(DETECTOR_FOLDER)[0])


# --------------------------------------------------------------------------------- input and output folders


def input_files(suffixes: tuple[str, ...], examples: Path) -> list[str]:
    """The files with one of the suffixes: of ComfyUI's input folder, then the pack's examples, marked as such."""
    import folder_paths

    base = Path(folder_paths.get_input_directory())
    files = sorted(file.relative_to(base).as_posix() for file in base.rglob("*") if file.suffix.lower() in suffixes)
    return files + sorted(file.name + EXAMPLE for file in examples.glob("*") if file.suffix in suffixes)


def input_path(name: str, examples: Path) -> Path:
    """Where a name of `input_files` is on the disk."""
    import folder_paths

    if name.endswith(EXAMPLE):
        return examples / Path(name.removesuffix(EXAMPLE)).name
    return Path(folder_paths.get_annotated_filepath(name))


def stamp(path: Path) -> str:
    """Changes whenever the file does; empty where there is none."""
    return f"{path.stat().st_mtime_ns} {path.stat().st_size}" if path.is_file() else ""


@contextmanager
def video_file(video) -> Iterator[Path]:
    """A VIDEO as a file: the one it was loaded from, or a temporary one where it is cut or held in memory."""
    from comfy_api.input_impl import VideoFromFile

    source = video.get_stream_source()
    cut = 0 < seconds(video) < seconds(VideoFromFile(source)) - 0.05
    if isinstance(source, str) and not cut:
        yield Path(source)
        return
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "video.mp4"
        if cut:
            video.save_to(str(file))
        else:
            file.write_bytes(source.getbuffer())
        yield file


def seconds(video) -> float:
    """How long a VIDEO is; 0 where nothing tells (a damaged file is explained where it is read)."""
    try:
        return video.get_duration()
    except (ValueError, OSError, EOFError):
        return 0.0


def output_path(prefix: str, suffix: str) -> Path:
    """A new file's name in ComfyUI's output folder, counted on like its own."""
    import folder_paths

    folder, name, counter, *_ = folder_paths.get_save_image_path(prefix, folder_paths.get_output_directory())
    return Path(folder) / f"{name}_{counter:05}_{suffix}"


# -------------------------------------------------------------------------------------------------- memory


def storage_dtypes() -> dict[str, torch.dtype]:
    """In which dtypes ComfyUI wants networks stored, by role; the text tower stays exact."""
    import comfy.model_management as mm
    import torch

    unet = mm.unet_dtype(mm.get_torch_device(), model_params=PUBLISHED_PARAMETERS)
    vae = mm.vae_dtype(mm.vae_device(), [torch.bfloat16])
    return dict.fromkeys(UNETS, unet) | {VAE: vae, "text_encoder": torch.float32}


def hold(network: nn.Module, role: str) -> ModelPatcher:
    """A network in ComfyUI's keeping: moved, offloaded and loaded in part as its memory management decides.

    The layers become ComfyUI's, which fetch weights that lie elsewhere. `held.model.inner` is the network,
    `held.load_device` and `held.model.compute_dtype` are where and in which dtype it computes.
    """
    import comfy.model_management as mm
    import comfy.ops
    from comfy.model_patcher import ModelPatcher

    _adopt_layers(network, comfy.ops.manual_cast)
    if role == VAE:
        device, offload = mm.vae_device(), mm.vae_offload_device()
        compute = None
    else:
        device, offload = mm.get_torch_device(), mm.unet_offload_device()
        compute = mm.unet_manual_cast(_dtype(network), device)
    holder = _holder()(network, compute or _dtype(network))
    return ModelPatcher(holder, load_device=device, offload_device=offload)


def network(held: ModelPatcher) -> nn.Module:
    return held.model.inner


def place(held: ModelPatcher) -> tuple[torch.device, torch.dtype]:
    """Where and in which dtype a network computes, wherever its weights happen to be."""
    return held.load_device, held.model.compute_dtype


def load(held: Sequence[ModelPatcher], activations: float) -> None:
    """Have all networks of a phase at hand at once, with room for `activations` bytes."""
    import comfy.model_management as mm

    mm.load_models_gpu(list(held), memory_required=activations)


def denoising_memory(frames: int, latent_pixels: int, dtype: torch.dtype) -> float:
    """Bytes that a UNet, with the ControlNet's residuals and the reference's tokens, needs for a batch.

    ComfyUI's estimate for Stable Diffusion 1.5 is 0.01 MiB a byte of a latent pixel; attention here has twice the keys.
    """
    return 1.5 * 0.01 * 2**20 * frames * latent_pixels * dtype.itemsize


def vae_memory(pictures: int, pixels: int, dtype: torch.dtype) -> float:
    """Bytes that the VAE needs for a batch; ComfyUI's estimate for its decoder."""
    return 2178.0 * pictures * pixels * dtype.itemsize


def output(tensor: Tensor) -> Tensor:
    """A result where ComfyUI wants results to be."""
    import comfy.model_management as mm

    return tensor.to(mm.intermediate_device())


@cache
def _holder() -> type[nn.Module]:
    from torch import nn

    class MagicDanceNetwork(nn.Module):
        """diffusers' own modules have a read-only `device`, which ComfyUI assigns."""

        def __init__(self, inner: nn.Module, compute_dtype: torch.dtype):
            super().__init__()
            self.inner, self.device, self.compute_dtype = inner, None, compute_dtype

    return MagicDanceNetwork


def _adopt_layers(network: nn.Module, ops) -> None:
    from torch import nn

    kinds = {nn.Linear: ops.Linear, nn.Conv2d: ops.Conv2d, nn.GroupNorm: ops.GroupNorm, nn.LayerNorm: ops.LayerNorm}
    for module in network.modules():
        if type(module) in kinds:
            module.__class__ = kinds[type(module)]


def _dtype(network: nn.Module) -> torch.dtype:
    return next(network.parameters()).dtype


# --------------------------------------------------------------------------------- ComfyUI's own model and VAE


def prediction_type(model: ModelPatcher) -> str:
    """Of a MODEL: "epsilon" or "v_prediction"."""
    import comfy.model_sampling

    sampling = model.get_model_object("model_sampling")
    return "v_prediction" if isinstance(sampling, comfy.model_sampling.V_PREDICTION) else "epsilon"


def unet_tensors(model: ModelPatcher) -> dict[str, Tensor]:
    """The UNet of a MODEL with its LoRAs and merges applied, under the published layout's names without prefix.

    Raises InputError where the latents are not Stable Diffusion 1.5's.
    """
    import comfy.latent_formats
    import comfy.model_management as mm

    from ..magicdance_core.errors import InputError

    if not isinstance(model.model.latent_format, comfy.latent_formats.SD15):
        raise InputError(
            f"The connected MODEL is of the family {type(model.model.model_config).__name__}: "
            "connect one made from Stable Diffusion 1.5."
        )
    mm.load_models_gpu([model], force_patch_weights=True)  # what ComfyUI does before it saves a checkpoint
    return model.model.diffusion_model.state_dict()


def vae_tensors(vae) -> dict[str, Tensor]:
    """The tensors of a VAE under the published layout's names. Raises InputError for another family's."""
    from ..magicdance_core.errors import InputError

    tensors = {name: tensor for name, tensor in vae.get_sd().items() if not name.startswith(("loss.", "model_ema."))}
    known = "encoder.down.0.block.0.conv1.weight" in tensors and "post_quant_conv.weight" in tensors
    if not known or tensors["post_quant_conv.weight"].shape[0] != 4:
        raise InputError("The connected VAE is not one of Stable Diffusion 1.5: connect the checkpoint's own VAE.")
    return tensors


def empty_prompt(clip) -> Tensor:
    """The empty prompt `[1, 77, C]` through a CLIP."""
    return clip.encode_from_tokens(clip.tokenize("")).float().cpu()


# ------------------------------------------------------------------------- progress, previews, interruption


class Watch:
    """The progress bar of a run with previews of frames; every report may raise ComfyUI's interrupt.

    total: of the whole run, in frames computed.
    """

    def __init__(self, model: MagicDanceModel, total: int):
        import comfy.utils

        self._bar = comfy.utils.ProgressBar(total)
        self._preview = _previewer(model)

    def denoised(self, frames_done: int, latents: Tensor | None) -> None:
        """frames_done: of the total. latents: clean scaled latents `[n, 4, h, w]` to show, if there are any."""
        self._bar.update_absolute(frames_done, preview=None if latents is None else self._preview(latents[:1]))

    def decoded(self, frames_done: int, frame: Tensor) -> None:
        """frame: `[3, H, W]` in [0, 1]."""
        self._bar.update_absolute(frames_done, preview=_as_preview(frame))


def counted(items: Iterable, total: int | None = None) -> Iterator:
    """The items one by one, each moving the progress bar. total: about how many, where they have no length."""
    import comfy.utils

    bar = comfy.utils.ProgressBar(total or len(items))
    for item in items:
        yield item
        bar.update(1)


@contextmanager
def interruptible(*networks: nn.Module | None) -> Iterator[None]:
    """Within this, ComfyUI's interrupt takes effect before the next layer, not only after a batch."""
    import comfy.model_management as mm

    def check(module: nn.Module, args: tuple) -> None:
        mm.throw_exception_if_processing_interrupted()

    hooks = [
        module.register_forward_pre_hook(check)
        for network in networks
        if network is not None
        for module in network.modules()
        if next(module.children(), None) is None and next(module.parameters(), None) is not None
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _previewer(model: MagicDanceModel):
    """A function from latents `[1, 4, h, w]` to what the progress bar takes.

    Latents of Stable Diffusion go through ComfyUI's previewer, as its settings say; those of a small model are its
    own affair, and its VAE is quick.
    """
    vae = network(model.vae)
    device, dtype = place(model.vae)
    if vae.config.block_out_channels[-1] >= 512:
        import comfy.latent_formats
        import latent_preview

        previewer = latent_preview.get_previewer(device, comfy.latent_formats.SD15())
        return lambda latents: previewer and previewer.decode_latent_to_preview_image("JPEG", latents)

    from ..magicdance_core.sampling import decode_frames

    return lambda latents: _as_preview(next(decode_frames(vae, latents, 1, device, dtype))[0])


def _as_preview(frame: Tensor) -> tuple:
    from PIL import Image

    picture = Image.fromarray((frame.permute(1, 2, 0) * 255).round().byte().cpu().numpy())
    if max(picture.size) < PREVIEW_SIDE:
        factor = PREVIEW_SIDE // max(picture.size)
        picture = picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.LANCZOS)
    return "JPEG", picture, max(PREVIEW_SIDE, 512)
