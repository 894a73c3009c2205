"""Training pictures of puppets, drawn once and kept on disk."""

import os
import shutil
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ..pose.draw import draw_pose
from ..puppets import Choreography, Identity, draw_puppet, puppet_keypoints
from .config import DataConfig

CHOREOGRAPHY_SECONDS, FRAMES_PER_SECOND = 10, 30


@dataclass(frozen=True)
class PuppetData:
    """images, poses: uint8 `[identities, frames, H, W, 3]`, memory-mapped; heads: int16 `[..., 4]`, x0 y0 x1 y1."""

    images: np.ndarray
    poses: np.ndarray
    heads: np.ndarray


def draw_training_frame(seed: int, frame: int, size: int, split: str = "train"):
    """One person in one moment of a choreography of its own: image, pose map, head box."""
    identity = Identity.from_seed(seed, split)
    choreography = Choreography.from_seed(1000 * seed + frame, split)
    # Any fixed rule that spreads the moments over the choreography will do; this one is the golden ratio's.
    moment = int((frame + 1) * 0.618034 % 1 * CHOREOGRAPHY_SECONDS * FRAMES_PER_SECOND)
    pose = choreography.pose(moment)
    keypoints = puppet_keypoints(identity, pose, size)
    return np.asarray(draw_puppet(identity, pose, size)), draw_pose(keypoints), head_box(keypoints, size)


def head_box(keypoints, size: int) -> tuple[int, int, int, int]:
    """The face's bounding box, widened by half so that it holds hair and ears; pixels, x0 y0 x1 y1."""
    face = keypoints.people[0].face[:, :2]
    centre, half = (face.min(0) + face.max(0)) / 2, (face.max(0) - face.min(0)).max() * 0.75
    low = np.clip(np.floor(centre - half), 0, size)
    high = np.clip(np.ceil(centre + half), 0, size)
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])


def _draw_identity(seed: int, frames: int, size: int):
    return seed, [draw_training_frame(seed, frame, size) for frame in range(frames)]


def prepare_puppets(config: DataConfig, folder: Path) -> PuppetData:
    """Draw the data set into `folder`, or map it from there when an earlier run has drawn it."""
    target = folder / f"puppets-{config.size}-{config.identities}x{config.frames}"
    shape = (config.identities, config.frames, config.size, config.size, 3)
    if not target.exists():
        part = target.with_name(target.name + ".part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        images = np.lib.format.open_memmap(part / "images.npy", "w+", np.uint8, shape)
        poses = np.lib.format.open_memmap(part / "poses.npy", "w+", np.uint8, shape)
        heads = np.lib.format.open_memmap(part / "heads.npy", "w+", np.int16, (*shape[:2], 4))
        seeds = range(config.identities)
        with ProcessPoolExecutor(os.cpu_count()) as pool:
            drawn = pool.map(
                _draw_identity, seeds, *([v] * len(seeds) for v in (config.frames, config.size)), chunksize=8
            )
            for seed, rows in tqdm(drawn, total=len(seeds), desc="drawing puppets", unit="person"):
                images[seed], poses[seed], heads[seed] = (np.stack(column) for column in zip(*rows))
        for array in (images, poses, heads):
            array.flush()
        part.rename(target)
    return PuppetData(*(np.load(target / f"{name}.npy", mmap_mode="r") for name in ("images", "poses", "heads")))


def to_unit(pictures: np.ndarray) -> Tensor:
    """uint8 `[..., H, W, 3]` to float32 `[n, 3, H, W]` in [0, 1]."""
    flat = torch.from_numpy(np.array(pictures)).flatten(0, -4)
    return flat.permute(0, 3, 1, 2).float() / 255


def head_weights(heads: np.ndarray, size: int, grid: int, weight: float) -> Tensor:
    """Loss weights `[n, 1, grid, grid]`: `weight` within the head box, 1 elsewhere."""
    boxes = torch.from_numpy(np.array(heads)).reshape(-1, 4).float() * grid / size
    centres = torch.arange(grid) + 0.5
    inside_x = (centres >= boxes[:, 0:1]) & (centres <= boxes[:, 2:3])
    inside_y = (centres >= boxes[:, 1:2]) & (centres <= boxes[:, 3:4])
    inside = inside_y[:, None, :, None] & inside_x[:, None, None, :]
    return 1 + (weight - 1) * inside.float()
