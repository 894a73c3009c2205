"""Networks that embed single pictures, and what is measured with their vectors: consistency, CLIP score.

Sources: Huang et al., "VBench" (2024), for subject and background consistency; Hessel et al., "CLIPScore" (2021).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ..checkpoints.tensors import TensorFile
from ..errors import InputError
from .metric_weights import load_metric_network
from .vision_transformers import VisionTransformer

SIDE, DINO_HEADS = 224, 12
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CLIP = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True)
class PictureEmbedder:
    """A network over single pictures; its features are unit vectors float32 [n, d].

    embed: `[n, 3, 224, 224]`, normalised by `mean` and `deviation`, to `[n, d]`. central: take the central square; else
    the whole picture is squeezed into one.
    """

    name: str
    embed: Callable[[Tensor], Tensor]
    mean: tuple[float, float, float]
    deviation: tuple[float, float, float]
    central: bool
    device: torch.device
    window: int = 1

    def prepare(self, frame: np.ndarray) -> np.ndarray:
        """Resize a frame to 224 x 224 (bicubic)."""
        picture = Image.fromarray(frame)
        if self.central:
            side, (left, top) = min(picture.size), ((length - min(picture.size)) // 2 for length in picture.size)
            picture = picture.crop((left, top, left + side, top + side))
        return np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BICUBIC))

    @torch.inference_mode()
    def extract(self, prepared: np.ndarray) -> np.ndarray:
        pictures = torch.from_numpy(prepared).to(self.device).permute(0, 3, 1, 2).float() / 255
        mean, deviation = (torch.tensor(v, device=self.device)[:, None, None] for v in (self.mean, self.deviation))
        return F.normalize(self.embed((pictures - mean) / deviation).float(), dim=1).cpu().numpy()


def dino_embedder(path: Path, device: torch.device) -> PictureEmbedder:
    """Load DINO's ViT-B/16 as published. Raises InputError if the file is of another network."""
    shapes = TensorFile(path).shapes
    try:
        network = VisionTransformer.of_shapes(shapes, DINO_HEADS)
    except (KeyError, ValueError, IndexError) as error:
        raise InputError(f"{path} is no vision transformer ({error}); see --weights-help.") from error
    return PictureEmbedder("dino", load_metric_network(network, path).to(device), *IMAGENET, False, device)


def clip_embedder(weights: Path, device: torch.device) -> tuple[PictureEmbedder, Callable[[str], np.ndarray]]:
    """Load CLIP in transformers' format; return it for pictures, and a function from a text to its unit vector `[d]`.

    weights: model.safetensors in its folder. Raises InputError if the folder lacks something or is damaged.
    """
    from transformers import CLIPModel, CLIPTokenizer

    try:
        model = CLIPModel.from_pretrained(weights.parent, local_files_only=True, use_safetensors=True).to(device).eval()
        tokenizer = CLIPTokenizer.from_pretrained(weights.parent, local_files_only=True)
    except Exception as error:  # transformers raises nearly anything for damaged files
        reason = str(error).split("\n")[0]
        raise InputError(
            f"{weights.parent} is no CLIP in transformers' format ({reason}); see --weights-help."
        ) from error

    def pictures(pixels: Tensor) -> Tensor:
        return model.visual_projection(model.vision_model(pixel_values=pixels).pooler_output)

    @torch.inference_mode()
    def text(words: str) -> np.ndarray:
        ids = tokenizer(words, truncation=True, return_tensors="pt").to(device)
        found = model.text_projection(model.text_model(**ids).pooler_output)
        return F.normalize(found.float(), dim=1)[0].cpu().numpy()

    return PictureEmbedder("clip", pictures, *CLIP, True, device), text


def consistency(features: np.ndarray) -> np.ndarray:
    """Return VBench's consistency of each frame, NaN for the first: [F] of unit vectors [F, d].

    The mean of the cosines, 0 at least, to the previous and to the first frame.
    """
    previous = np.einsum("fd,fd->f", features[1:], features[:-1])
    first = features[1:] @ features[0]
    values = (np.maximum(previous, 0) + np.maximum(first, 0)) / 2
    return np.concatenate([[np.nan], values]).astype(float)


def clip_score(features: np.ndarray, text: np.ndarray) -> np.ndarray:
    """Return 100 max(cosine, 0) of each frame and a text: [F] of unit vectors [F, d] and [d]."""
    return 100 * np.maximum(features @ text, 0).astype(float)


def inception_score(probabilities: Tensor, weights: Tensor | None = None) -> float:
    """Return the Inception Score exp(mean KL(p(y|x) || p(y))) of class probabilities [n, classes].

    weights: [n], how often each row counts. Source: Salimans et al. (2016), without splits.
    """
    weights = probabilities.new_ones(len(probabilities)) if weights is None else weights.to(probabilities)
    share = weights / weights.sum()
    marginal = share @ probabilities
    entropies = -(torch.special.entr(probabilities).sum(1) @ share)
    return float((entropies + torch.special.entr(marginal).sum()).exp())
