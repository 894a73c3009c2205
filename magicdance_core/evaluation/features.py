"""What networks see in frames, one video at a time: each network's features of a stream of frames, in flat memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ..errors import InputError
from .i3d import I3D
from .resnet3d import ResNet3D
from .weights import load_network

CLIP = 16  # frames of a clip; clips begin at every frame
CLIPS_AT_ONCE = 4
FRAMES_AT_ONCE = 16
RESNET_SIZE, I3D_SIZE, INCEPTION_SIZE = 112, 224, 299
KINETICS_MEAN = (114.7748, 107.7354, 99.4750)  # of the training data, RGB in 0..255


class Viewer(Protocol):
    """A network that looks at frames."""

    @property
    def name(self) -> str:
        """What its features are called."""

    @property
    def window(self) -> int:
        """How many frames, one after the other, it needs for one feature."""

    def prepare(self, frame: np.ndarray) -> np.ndarray:
        """A frame, uint8 [H, W, 3], as small as the network takes it."""

    def view(self, prepared: np.ndarray) -> np.ndarray:
        """Prepared frames [n, ...], n >= window, to float32 features [n - window + 1, ...]."""


def view_video(frames: Iterable[np.ndarray], viewers: Sequence[Viewer]) -> dict[str, np.ndarray]:
    """All features of one video by the viewers' names; none, [0], where it is shorter than a viewer's window.

    frames: uint8 [H, W, 3], read once, and never more than a batch of them kept. The result does not depend on batches.
    Raises InputError where a network answers with anything but numbers.
    """
    buffers: dict[str, list] = {viewer.name: [] for viewer in viewers}
    found: dict[str, list] = {viewer.name: [] for viewer in viewers}

    def flush(viewer: Viewer) -> None:
        buffer = buffers[viewer.name]
        if len(buffer) >= viewer.window:
            found[viewer.name].append(viewer.view(np.stack(buffer)))
            buffers[viewer.name] = buffer[len(buffer) - viewer.window + 1 :]

    for frame in frames:
        for viewer in viewers:
            buffers[viewer.name].append(viewer.prepare(frame))
            if len(buffers[viewer.name]) == FRAMES_AT_ONCE + viewer.window - 1:
                flush(viewer)
    for viewer in viewers:
        flush(viewer)
    features = {name: np.concatenate(parts) if parts else np.zeros(0, np.float32) for name, parts in found.items()}
    for name, values in features.items():
        if np.isinf(values).any() or (name in FINITE and np.isnan(values).any()):
            raise InputError(f"The network {name} answers with values that are not numbers; check its weights.")
    return features


FINITE = ("inception", "resnet3d", "i3d")  # of the others, NaN says that nothing was found


def _resized(frame: np.ndarray, size: int) -> np.ndarray:
    """PIL's antialiased bicubic filter, as in the published evaluation."""
    return np.asarray(Image.fromarray(frame).resize((size, size), Image.Resampling.BICUBIC))


@dataclass(frozen=True)
class ClipNetwork:
    """A 3D network over clips of CLIP frames. shift, scale: from 0..255 to what it wants, (value - shift) / scale."""

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
    def view(self, prepared: np.ndarray) -> np.ndarray:
        frames = torch.from_numpy(prepared).to(self.device).float()
        frames = ((frames - torch.tensor(self.shift, device=self.device)) / self.scale).permute(3, 0, 1, 2)
        clips = frames.unfold(1, self.window, 1).permute(1, 0, 4, 2, 3)  # [clips, 3, CLIP, H, W], a view
        return torch.cat([self.network(part).float().cpu() for part in clips.split(CLIPS_AT_ONCE)]).numpy()


def resnet_viewer(path: Path, device: torch.device) -> ClipNetwork:
    """FID-VID's: ResNet-50 in 3D, 112 pixels, the training data's mean subtracted, 2048 features."""
    network = load_network(ResNet3D(), path, ignored=("fc.",)).to(device)
    return ClipNetwork("resnet3d", network, RESNET_SIZE, KINETICS_MEAN, 1.0, device)


def i3d_viewer(path: Path, device: torch.device) -> ClipNetwork:
    """FVD's: I3D, 224 pixels, values in [-1, 1], 400 logits."""
    return ClipNetwork("i3d", load_network(I3D(), path).to(device), I3D_SIZE, (127.5,) * 3, 127.5, device)


@dataclass(frozen=True)
class InceptionViewer:
    """FID's: Inception of 2015, 2048 features. antialias: how frames become smaller, see `prepare`."""

    network: torch.nn.Module
    antialias: bool
    device: torch.device
    name: str = "inception"
    window: int = 1

    @classmethod
    def from_file(cls, path: Path, antialias: bool, device: torch.device) -> InceptionViewer:
        """Of torch-fidelity's weights, through torchmetrics. Raises InputError where either is missing."""
        from ..checkpoints.tensors import TensorFile

        TensorFile(path)  # torch-fidelity unpickles without a look; by now it is known to be tensors only
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

    def prepare(self, frame: np.ndarray) -> np.ndarray:
        """299 pixels: bicubic and antialiased, or bilinear without, as the published evaluation's pytorch_fid does."""
        if self.antialias:
            return _resized(frame, INCEPTION_SIZE)
        pixels = torch.from_numpy(frame).permute(2, 0, 1)[None].float()
        pixels = F.interpolate(pixels, (INCEPTION_SIZE, INCEPTION_SIZE), mode="bilinear", align_corners=False)
        return pixels.round().byte()[0].permute(1, 2, 0).numpy()

    @torch.inference_mode()
    def view(self, prepared: np.ndarray) -> np.ndarray:
        return self.network(torch.from_numpy(prepared).permute(0, 3, 1, 2).to(self.device)).float().cpu().numpy()


INSTALL = "run pip install torchmetrics torch-fidelity (or this package's extra: evaluation)."


class Lpips:
    """Learned perceptual distance of picture pairs, VGG. Source: Zhang et al. (2018); the network is torchmetrics'."""

    def __init__(self, network: torch.nn.Module, device: torch.device):
        self.network, self.device = network.to(device), device

    @classmethod
    def from_file(cls, path: Path, device: torch.device) -> Lpips:
        """Of torchvision's VGG-16 and the layer weights that torchmetrics brings. InputError where one is missing."""
        from ..checkpoints.tensors import TensorFile

        try:
            # The public class always downloads VGG; this is the module inside, whose pnet_rand leaves that to us.
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
        """The distance of two pictures uint8 [H, W, 3]. signed: fed in [-1, 1]; else in [0, 1], the published slip."""
        one, two = (self._tensor(picture) for picture in (made, true))
        return float(self.network(one, two, normalize=signed))

    def _tensor(self, picture: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1)[None].to(self.device).float() / 255


def as_tensors(videos: Iterable[Mapping[str, np.ndarray]], name: str, device: torch.device) -> list[Tensor]:
    """The features of a name of each video, on a device that computes in double precision."""
    place = torch.device("cpu") if device.type == "mps" else device
    return [torch.from_numpy(video[name]).to(place) for video in videos]
