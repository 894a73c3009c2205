"""The training loop: stages one after another, resumable at any step, exact after a resume."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from diffusers.training_utils import EMAModel
from torch import Tensor
from tqdm import tqdm

from ..schedule import published_scheduler
from .config import StageConfig, TrainingConfig
from .losses import autoencoder_loss, diffusion_loss
from .networks import TrainingNetworks, build_networks, start_from_unet
from .optimizer import make_optimizers
from .puppet_data import PuppetData, head_weights, prepare_puppets, to_unit


def train(config: TrainingConfig, out: Path, device: torch.device) -> TrainingNetworks:
    """Run all stages of a configuration, from the last saved step on when `out` holds one.

    Writes `state.pt` (weights, averages, optimisers, random state), `log.jsonl`, data and latents into `out`.
    Returns the trained networks with averaged weights.
    """
    out.mkdir(parents=True, exist_ok=True)
    data = prepare_puppets(config.data, out)
    networks = build_networks(config)
    state = load_state(out / "state.pt")
    first = state["stage"] if state else 0
    if state:
        for name, network in networks.by_name().items():
            network.load_state_dict(state["networks"][name])
    for network in networks.by_name().values():
        network.to(device).requires_grad_(False)
    for index in range(first, len(config.stages)):
        train_stage(config, index, networks, data, out, device, state if index == first else None)
    return networks


def train_stage(
    config: TrainingConfig,
    index: int,
    networks: TrainingNetworks,
    data: PuppetData,
    out: Path,
    device: torch.device,
    state: dict | None,
) -> None:
    """Train one stage to its end; the networks then hold the averaged weights."""
    stage = config.stages[index]
    resumed = state is not None and state["step"] > 0
    generator = torch.Generator().manual_seed(config.seed * 1000 + index)
    if not resumed:
        start_from_unet(networks, stage.from_unet)
    learning = {name: networks.by_name()[name].requires_grad_(True) for name in stage.train}
    parameters = [p for network in learning.values() for p in network.parameters()]
    optimizers = make_optimizers(learning, stage.learning_rate, stage.weight_decay)
    average = EMAModel(parameters, decay=stage.ema, foreach=True)
    first = 0
    if resumed:
        first = state["step"]
        average.load_state_dict(state["average"])
        average.to(device)
        for optimizer, saved in zip(optimizers, state["optimizers"]):
            optimizer.load_state_dict(saved)
        generator.set_state(state["generator"])
    loss_of_batch = make_objective(config, stage, networks, data, out, device, generator)

    started, recent = time.monotonic(), []
    for step in tqdm(range(first, stage.steps), initial=first, total=stage.steps, desc=stage.name, unit="step"):
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = stage.learning_rate * learning_rate_factor(step, stage)
            optimizer.zero_grad(set_to_none=True)
        loss = loss_of_batch()
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
        average.step(parameters)
        recent.append(loss.item())
        done = step + 1 == stage.steps
        if (step + 1) % 50 == 0 or done:
            record = {"stage": stage.name, "step": step + 1, "loss": sum(recent) / len(recent)}
            write_log(out / "log.jsonl", record | {"seconds": round(time.monotonic() - started, 1)})
            recent = []
        if (step + 1) % stage.save_every == 0 and not done:
            save_state(out / "state.pt", index, step + 1, networks, average, optimizers, generator)
    average.copy_to(parameters)
    for network in learning.values():
        network.requires_grad_(False)
    save_state(out / "state.pt", index + 1, 0, networks, average, [], generator)


def learning_rate_factor(step: int, stage: StageConfig) -> float:
    """Flat, then linear to 0 over the last `decay` of the steps."""
    return min(1.0, (1 - step / stage.steps) / max(stage.decay, 1e-9))


def make_objective(
    config: TrainingConfig,
    stage: StageConfig,
    networks: TrainingNetworks,
    data: PuppetData,
    out: Path,
    device: torch.device,
    generator: torch.Generator,
) -> Callable[[], Tensor]:
    """A function that draws the next batch and returns its loss."""
    size, (people, frames) = config.data.size, data.heads.shape[:2]

    def autoencoder_objective() -> Tensor:
        flat = torch.randint(people * frames, (stage.references * stage.targets,), generator=generator).numpy()
        who, when = np.divmod(flat, frames)
        images = to_unit(data.images[who, when]) * 2 - 1
        weights = head_weights(data.heads[who, when], size, size, stage.head_weight)
        if stage.crop:
            top, left = torch.randint(size - stage.crop + 1, (2,), generator=generator).tolist()
            window = (..., slice(top, top + stage.crop), slice(left, left + stage.crop))
            images, weights = images[window], weights[window]
        return autoencoder_loss(networks.vae, images.to(device), weights.to(device), generator)

    if stage.train == ["vae"]:
        return autoencoder_objective

    latents = prepare_latents(networks, data, out, device)
    grid = latents.shape[-1]
    scheduler = published_scheduler(config.prediction_type)
    context = torch.zeros(1, *config.context, device=device)

    def diffusion_objective() -> Tensor:
        who = torch.randint(people, (stage.references,), generator=generator)
        when = torch.rand(stage.references, frames, generator=generator).argsort(1)[:, : stage.targets + 1]
        reference, target = latents[who, when[:, 0]], latents[who[:, None], when[:, 1:]].flatten(0, 1)
        pose = to_unit(data.poses[who.numpy()[:, None], when[:, 1:].numpy()])
        weights = head_weights(data.heads[who.numpy()[:, None], when[:, 1:].numpy()], size, grid, stage.head_weight)
        plain = torch.rand((), generator=generator).item() < stage.plain
        return diffusion_loss(
            networks.denoiser,
            scheduler,
            reference.to(device, torch.float32),
            target.to(device, torch.float32),
            pose.to(device),
            context,
            [] if plain else stage.controls,
            weights.to(device),
            generator,
        )

    return diffusion_objective


@torch.inference_mode()
def prepare_latents(networks: TrainingNetworks, data: PuppetData, out: Path, device: torch.device) -> Tensor:
    """Scaled latents of all pictures, float16 `[identities, frames, 4, h, w]`; sets the VAE's scaling factor.

    Encoded once; `latents.npy` carries on a resume. The scaling factor makes the standard deviation 1.
    """
    vae, path = networks.vae, out / "latents.npy"
    if not path.exists():
        rows = []
        for images in tqdm(data.images, desc="encoding", unit="person"):
            rows.append(vae.encode(to_unit(images).to(device) * 2 - 1).latent_dist.mode().cpu())
        part = path.with_suffix(".part")
        with part.open("wb") as file:
            np.save(file, torch.stack(rows).half().numpy())
        os.replace(part, path)
    latents = torch.from_numpy(np.load(path))
    scale = round(1 / latents[:256].float().std().item(), 5)
    vae.register_to_config(scaling_factor=scale)
    return latents * scale


def write_log(path: Path, record: dict) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")


def save_state(path: Path, stage: int, step: int, networks, average, optimizers, generator) -> None:
    """Write to a temporary name, then rename: a run that is killed while saving keeps its last state."""
    part = path.with_suffix(".part")
    torch.save(
        {
            "stage": stage,
            "step": step,
            "networks": {name: network.state_dict() for name, network in networks.by_name().items()},
            "average": average.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in optimizers],
            "generator": generator.get_state(),
        },
        part,
    )
    os.replace(part, path)


def load_state(path: Path) -> dict | None:
    return torch.load(path, map_location="cpu", weights_only=True) if path.exists() else None
