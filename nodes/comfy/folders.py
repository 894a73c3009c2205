"""Model folders: ComfyUI's, the pack's own, and AnimateDiff-Evolved's."""

import os
from pathlib import Path

EMBEDDED = "embedded"  # listed among file names: the model that comes with the pack
FOLDER = "magicdance"
LORA_FOLDER = "loras"
EXTENSIONS = {".th", ".safetensors", ".sft", ".ckpt", ".pth", ".pt", ".bin"}
DETECTOR_FOLDER = "magicdance_pose"
DETECTOR_EXTENSIONS = {".pth", ".onnx", ".whl", ".tflite"}
MOTION_FOLDER, MOTION_LORA_FOLDER = "animatediff_models", "animatediff_motion_lora"  # AnimateDiff-Evolved's


def register_model_folders() -> None:
    """Register the pack's folders and AnimateDiff-Evolved's, in addition to those of `extra_model_paths.yaml`.

    Pose detectors are also searched for in the downloads of comfyui_controlnet_aux.
    """
    import folder_paths

    known = {FOLDER: EXTENSIONS, DETECTOR_FOLDER: DETECTOR_EXTENSIONS}
    known |= dict.fromkeys((MOTION_FOLDER, MOTION_LORA_FOLDER), EXTENSIONS)
    for folder, extensions in known.items():
        folder_paths.add_model_folder_path(folder, os.path.join(folder_paths.models_dir, folder))
        folder_paths.folder_names_and_paths[folder][1].update(extensions)
    for packs in folder_paths.get_folder_paths("custom_nodes"):
        downloads = os.path.join(packs, "comfyui_controlnet_aux", "ckpts")
        if os.path.isdir(downloads):
            folder_paths.add_model_folder_path(DETECTOR_FOLDER, downloads)


def list_files(*keys: str) -> list[str]:
    """List the files in ComfyUI's folders `keys`, each name once."""
    import folder_paths

    return list(dict.fromkeys(name for key in keys for name in folder_paths.get_filename_list(key)))


def list_folders(*keys: str) -> list[str]:
    """List the diffusers folders (with a model_index.json) below ComfyUI's folders `keys`."""
    import folder_paths

    found = {}
    for base in (base for key in keys for base in folder_paths.get_folder_paths(key)):
        for root, _, files in os.walk(base, followlinks=True):
            if "model_index.json" in files:
                found[os.path.relpath(root, base)] = None
    return sorted(found)


def list_magicdance() -> list[str]:
    """List files and model folders in `models/magicdance`, without the files inside model folders."""
    return list_magicdance_files() + list_folders(FOLDER)


def list_magicdance_files() -> list[str]:
    """List the checkpoint files in `models/magicdance`, without the files inside model folders."""
    parts = tuple(folder + os.sep for folder in list_folders(FOLDER))
    return [name for name in list_files(FOLDER) if not name.startswith(parts)]


def confined(base: str | Path, name: str, links: bool = False) -> Path | None:
    """Return the path of a name below a folder; None if it leads out of the folder or is no valid name.

    links: whether symbolic links may lead out, as users link to models on other disks.
    """
    real = os.path.abspath if links else os.path.realpath
    try:
        path, folder = Path(base, name), Path(real(base))
        inside = Path(real(path))
    except (OSError, RuntimeError, TypeError, ValueError):  # names with NUL or too long, circular links
        return None
    return path if inside != folder and inside.is_relative_to(folder) else None


def find_model(name: str, *keys: str) -> Path | None:
    """Return the path of a name from `list_files` or `list_folders`, in the first of the folders `keys` that has it.

    Returns None if there is none. Names cannot lead out of these folders, links in them can.
    """
    import folder_paths

    for base in (base for key in keys for base in folder_paths.get_folder_paths(key)):
        path = confined(base, name, links=True)
        if path is not None and (os.path.isfile(path) or os.path.isfile(path / "model_index.json")):
            return path
    return None


def detector_folder(file: str | None) -> Path:
    """Return the folder that has a detector's file, at any depth; else the folder where it belongs."""
    import folder_paths

    names = folder_paths.get_filename_list(DETECTOR_FOLDER)
    if found := next((name for name in names if os.path.basename(name) == file), None):
        return Path(folder_paths.get_full_path_or_raise(DETECTOR_FOLDER, found)).parent
    return Path(folder_paths.get_folder_paths(DETECTOR_FOLDER)[0])
