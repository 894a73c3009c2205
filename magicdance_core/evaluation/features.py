"""Features of videos: each network reads a stream of frames, and memory does not grow with their number."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ..errors import InputError
from .metric_weights import load_metric_network
from .video_networks import I3D, ResNet3D
from .vision_transformers import VisionTransformer

CLIP = 16  # frames of a clip; clips begin at every frame
CLIPS_AT_ONCE = 4
FRAMES_AT_ONCE = 16  # even, as `SmoothnessExtractor` needs
RESNET_SIZE, I3D_SIZE, INCEPTION_SIZE = 112, 224, 299
KINETICS_MEAN = (114.7748, 107.7354, 99.4750)  # of the training data, RGB in 0..255


class FeatureExtractor(Protocol):
    """A network that turns frames into features."""

    @property
    def name(self) -> str:
        """Name of the features."""

    @property
    def window(self) -> int:
        """Number of consecutive frames that one feature needs."""

    def prepare(self, frame: np.ndarray) -> np.ndarray:
        """Resize a frame, uint8 [H, W, 3], to what the network takes."""

    def extract(self, prepared: np.ndarray) -> np.ndarray:
        """Return float32 features [n - window + 1, ...] of prepared frames [n, ...], n >= window."""


def extract_features(frames: Iterable[np.ndarray], extractors: Sequence[FeatureExtractor]) -> dict[str, np.ndarray]:
    """Return the features of one video by the extractors' names; an empty array if it is shorter than a window.

    frames: uint8 [H, W, 3], read once, with at most a batch of them in memory; the result does not depend on batches.
    Raises InputError if a network's output is not finite, and if one that takes frames as they are finds several sizes.
    """
    buffers: dict[str, list] = {extractor.name: [] for extractor in extractors}
    found: dict[str, list] = {extractor.name: [] for extractor in extractors}

    def flush(extractor: FeatureExtractor) -> None:
        buffer = buffers[extractor.name]
        if len({prepared.shape for prepared in buffer}) > 1:
            raise InputError(
                f"A video has frames of several sizes, and the network {extractor.name} needs one; resize them, or "
                "take its file out of the folder of --weights."
            )
        if len(buffer) >= extractor.window:
            found[extractor.name].append(extractor.extract(np.stack(buffer)))
            buffers[extractor.name] = buffer[len(buffer) - extractor.window + 1 :]

    for frame in frames:
        for extractor in extractors:
            buffers[extractor.name].append(extractor.prepare(frame))
            if len(buffers[extractor.name]) == FRAMES_AT_ONCE + extractor.window - 1:
                flush(extractor)
    for extractor in extractors:
        flush(extractor)
    features = {name: np.concatenate(parts) if parts else np.zeros(0, np.float32) for name, parts in found.items()}
    for name, values in features.items():
        if np.isinf(values).any() or (name in FINITE and np.isnan(values).any()):
            raise InputError(f"The network {name} gives values that are not finite; check its weights.")
    return features


# Elsewhere NaN means that nothing was found.
FINITE = ("inception", "resnet3d", "i3d", "videomae", "pips", "dino", "clip")


def _resized(frame: np.ndarray, size: int) -> np.ndarray:
    """Resize with PIL's antialiased bicubic filter, as the published evaluation does."""
    return np.asarray(Image.fromarray(frame).resize((size, size), Image.Resampling.BICUBIC))


@dataclass(frozen=True)
class ClipExtractor:
    """A 3D network over clips of CLIP frames. Its input is (value - shift) / scale of values in 0..255."""

    name: str
    network: torch.nn.Module
    size: int
    shift: tuple[float, float, float]
    scale: float
    device: torch.device
    window: int = CLIP

    def prepare(self, frame: np.ndarray) -> np.ndarray:
        return _resized(frame, self.size)

    @torch.inference_mode()
    def extract(self, prepared: np.ndarray) -> np.ndarray:
        frames = torch.from_numpy(prepared).to(self.device).float()
        frames = ((frames - torch.tensor(self.shift, device=self.device)) / self.scale).permute(3, 0, 1, 2)
        clips = frames.unfold(1, self.window, 1).permute(1, 0, 4, 2, 3)  # [clips, 3, CLIP, H, W], a view
        return torch.cat([self.network(part).float().cpu() for part in clips.split(CLIPS_AT_ONCE)]).numpy()


def resnet_extractor(path: Path, device: torch.device) -> ClipExtractor:
    """Load FID-VID's network: 3D ResNet-50, 112 pixels, the training data's mean subtracted, 2048 features."""
    network = load_metric_network(ResNet3D(), path, ignored=("fc.",)).to(device)
    return ClipExtractor("resnet3d", network, RESNET_SIZE, KINETICS_MEAN, 1.0, device)


def i3d_extractor(path: Path, device: torch.device) -> ClipExtractor:
    """Load FVD's network: I3D, 224 pixels, values in [-1, 1], 400 logits."""
    return ClipExtractor("i3d", load_metric_network(I3D(), path).to(device), I3D_SIZE, (127.5,) * 3, 127.5, device)


VIDEOMAE_HEADS = 16


def videomae_extractor(path: Path, device: torch.device) -> ClipExtractor:
    """Load content-debiased FVD's network: VideoMAE V2 (ViT-g), 224 pixels, values in [0, 1], its last mean features.

    Source: Ge et al., "On the content bias in Frechet video distance" (2024).
    Raises InputError if the file is of another network.
    """
    from ..checkpoints.tensors import TensorFile

    try:
        network = VisionTransformer.of_shapes(TensorFile(path).shapes, VIDEOMAE_HEADS)
    except (KeyError, ValueError, IndexError) as error:
        raise InputError(f"{path} is no vision transformer ({error}); see --weights-help.") from error
    network = load_metric_network(network, path, ignored=("head.",)).to(device)
    return ClipExtractor("videomae", network, I3D_SIZE, (0.0,) * 3, 255.0, device)


@dataclass(frozen=True)
class InceptionExtractor:
    """FID's network: Inception of 2015, 2048 features. antialias: how frames are resized, see `prepare`."""

    network: Any
    antialias: bool
    device: torch.device
    name: str = "inception"
    window: int = 1

    @classmethod
    def from_file(cls, path: Path, antialias: bool, device: torch.device) -> InceptionExtractor:
        """Load torch-fidelity's weights through torchmetrics. Raises InputError if a library is missing."""
        from ..checkpoints.tensors import TensorFile

        TensorFile(path)  # checks that it holds tensors only, since torch-fidelity unpickles anything
        try:
            from torchmetrics.image.fid import FrechetInceptionDistance

            metric = FrechetInceptionDistance(feature=2048, feature_extractor_weights_path=str(path))
        except ImportError as error:
            raise InputError(f"FID needs torchmetrics and torch-fidelity ({error}); {INSTALL}") from error
        except RuntimeError as error:
            raise InputError(
                f"{path} is of another network ({str(error).splitlines()[0]}); see --weights-help."
            ) from error
        return cls(metric.inception.to(device), antialias, device)

    @property
    def classifier(self) -> Tensor:
        """The last layer's weights [classes, 2048]; logits without its bias are what the Inception Score takes."""
        return self.network.fc.weight.detach()

    def prepare(self, frame: np.ndarray) -> np.ndarray:
        """Resize to 299 pixels: antialiased bicubic, or bilinear as in the published evaluation's pytorch_fid."""
        if self.antialias:
            return _resized(frame, INCEPTION_SIZE)
        pixels = torch.from_numpy(frame).permute(2, 0, 1)[None].float()
        pixels = F.interpolate(pixels, (INCEPTION_SIZE, INCEPTION_SIZE), mode="bilinear", align_corners=False)
        return pixels.round().byte()[0].permute(1, 2, 0).numpy()

    @torch.inference_mode()
    def extract(self, prepared: np.ndarray) -> np.ndarray:
        return self.network(torch.from_numpy(prepared).permute(0, 3, 1, 2).to(self.device)).float().cpu().numpy()


INSTALL = "run pip install torchmetrics torch-fidelity (or this package's extra: evaluation)."


class Lpips:
    """Learned perceptual distance of two pictures, with VGG. Source: Zhang et al. (2018); torchmetrics' network."""

    def __init__(self, network: torch.nn.Module, device: torch.device):
        self.network, self.device = network.to(device), device

    @classmethod
    def from_file(cls, path: Path, device: torch.device) -> Lpips:
        """Load torchvision's VGG-16 and torchmetrics' layer weights. Raises InputError if one is missing."""
        from ..checkpoints.tensors import TensorFile

        try:
            # The public class always downloads VGG; the module inside takes pnet_rand and ours.
            from torchmetrics.functional.image.lpips import _LPIPS
        except ImportError as error:
            raise InputError(f"LPIPS needs torchmetrics ({error}); {INSTALL}") from error
        file = TensorFile(path)
        if file.shapes.get("features.28.weight") != (512, 512, 3, 3):  # the last layer, before the network is built
            raise InputError(f"{path} is no VGG-16 (its last convolution is missing); see --weights-help.")
        network = _LPIPS(net="vgg", pnet_rand=True)
        # torchmetrics cuts VGG into slices: "slice2.5.weight" is torchvision's "features.5.weight".
        names = {f"features.{name.split('.', 1)[1]}": name for name in network.net.state_dict()}
        if missing := names.keys() - file.shapes.keys():
            raise InputError(f"{path} is no VGG-16 (it lacks {min(missing)}); see --weights-help.")
        network.net.load_state_dict({names[name]: tensor for name, tensor in file.read(sorted(names))})
        return cls(network.eval().requires_grad_(False), device)

    @torch.inference_mode()
    def __call__(self, made: np.ndarray, true: np.ndarray, signed: bool = True) -> float:
        """Return the distance of two pictures uint8 [H, W, 3].

        signed: input in [-1, 1]; else in [0, 1], the published evaluation's mistake.
        """
        one, two = (self._tensor(picture) for picture in (made, true))
        return float(self.network(one, two, normalize=signed))

    def _tensor(self, picture: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1)[None].to(self.device).float() / 255


def as_tensors(videos: Iterable[Mapping[str, np.ndarray]], name: str, device: torch.device) -> list[Tensor]:
    """Return a network's features of each video, on a device that computes in double precision."""
    device = torch.device("cpu") if device.type == "mps" else device
    return [torch.from_numpy(video[name]).to(device) for video in videos]
