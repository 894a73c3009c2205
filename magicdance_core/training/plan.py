"""Estimate of what a run takes before it starts: memory, disk, operations and hours."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from accelerate import init_empty_weights
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils.flop_counter import FlopCounterMode

from ..checkpoints import EMBEDDED, ROLES, Components, load
from ..data import open_frames
from ..errors import InputError
from ..models import (
    MotionModule,
    Networks,
    add_temporal_hooks,
    apply_temporal_decoder,
    predict,
    read_pose,
    read_reference,
    stable_diffusion,
    vae_scale_factor,
)
from ..schedule import published_scheduler
from .config import StageConfig, TrainingConfig
from .low_rank import adapted_layers, low_rank_networks
from .starting import DTYPES, random_model, trainable_networks

GIB = 2**30
SPARE = 2 * GIB
"""Memory for CUDA, its libraries and fragmentation, beside the counted tensors."""
OPTIMIZER_BYTES = {"muon": 4, "adamw": 8, "adamw8bit": 2}


@dataclass(frozen=True)
class StagePlan:
    """Estimate of a stage.

    learning: number of weights that learn. memory: of a process, by purpose; state: size of a saved state on the disk;
    result: size of the stage's result; all in bytes. operations: of the whole stage.
    """

    name: str
    learning: int
    memory: dict[str, int]
    state: int
    result: int
    operations: int


def plan(config: TrainingConfig, processes: int = 1) -> list[StagePlan]:
    """Return the estimates of all stages, counted on networks without weights.

    A run with `start` is assumed to have the size of Stable Diffusion 1.5, unless it starts from the embedded model.
    """
    model = _empty_model(config)
    trained = {name for stage in config.stages for name in stage.train} | {"vae"}
    return [_stage(config, stage, model, trained, processes) for stage in config.stages]


def describe(config: TrainingConfig, processes: int, tflops: float) -> str:
    """Return the plan as text. tflops: measured speed of a process, in 10^12 operations per second."""
    lines, plans = [], plan(config, processes)
    for stage, planned in zip(config.stages, plans):
        total = sum(planned.memory.values())
        parts = ", ".join(f"{name} {size / GIB:.2f}" for name, size in planned.memory.items() if size)
        hours = planned.operations / processes / (tflops * 1e12) / 3600
        lines += [
            f"{stage.name}: {stage.steps} steps, {planned.learning / 1e6:.2f} M weights learn",
            f"  memory {total / GIB:.1f} GiB per process: {parts}",
            f"  {planned.operations:.2g} operations, {hours:.3g} hours at {tflops:g} TFLOP/s per process",
        ]
    state = max(planned.state for planned in plans) * (config.keep + 1)
    results = sum(planned.result for planned in plans)
    disk = {"states": state, "stages' results": results, "final file": _final(config), **_cache(config)}
    lines.append(
        f"disk {sum(disk.values()) / 1e9:.2f} GB: "
        + ", ".join(f"{name} {size / 1e9:.2f}" for name, size in disk.items() if size)
    )
    return "\n".join(lines)


def _empty_model(config: TrainingConfig) -> Components:
    with init_empty_weights():
        if config.networks:
            model = random_model(config, replace(config.networks, warm_start=None))
        elif config.start and config.start.model == "embedded":
            model = load(EMBEDDED)
            for network in model.networks().values():
                network.float().to("meta")  # as in training; the file may hold half precision
        else:
            parts = {role: ROLES[role].build(stable_diffusion.UNET) for role in ("unet", "appearance")}
            parts["pose"] = ROLES["pose"].build(stable_diffusion.POSE)
            parts["vae"] = ROLES["vae"].build(stable_diffusion.VAE)
            context = torch.zeros(stable_diffusion.TEXT_SHAPE)
            model = Components(**parts, scheduler=published_scheduler(), context=context)
        if any("motion" in stage.controls for stage in config.stages):
            model.motion = MotionModule.for_unet(model.unet)
            if any("temporal_decoder" in stage.train for stage in config.stages):
                model.motion.add_temporal_decoder(model.vae)
            model.motion.to("meta")  # its position embeddings are not parameters
    return model


def _stage(
    config: TrainingConfig, stage: StageConfig, model: Components, trained: set[str], processes: int
) -> StagePlan:
    networks = trainable_networks(model)
    used = {"vae"} if stage.train == ["vae"] else {"unet", *stage.controls, "vae"}
    for name, network in networks.items():
        network.requires_grad_(name in stage.train)
    rank = 0
    for name in low_rank_networks(stage):
        networks[name].requires_grad_(False)
        layers = adapted_layers(networks[name], stage).values()
        rank += stage.rank * sum(len(layer.weight) + layer.weight[0].numel() for layer in layers)
    learning = rank + sum(p.numel() for name in stage.train for p in networks[name].parameters() if p.requires_grad)
    half = config.precision != "float32"
    frozen = DTYPES[config.frozen].itemsize
    memory = {
        "weights that learn": 4 * learning,
        "their gradients": 4 * learning,
        "optimizer": OPTIMIZER_BYTES[stage.optimizer] * learning,
        "averages": 4 * learning if stage.ema and not stage.ema_on_cpu else 0,
        "copies in half precision": 2 * learning if half else 0,
        "frozen networks": sum(
            (4 if name in trained else frozen) * _size(networks[name]) for name in used - set(stage.train)
        ),
    }
    per_pass = stage.per_pass or max(1, stage.references // processes)
    activations, operations = _one_person(config, stage, model, half)
    memory |= {"activations": per_pass * activations, "spare": SPARE if half else 0}
    state = (4 + (4 if stage.ema else 0) + OPTIMIZER_BYTES[stage.optimizer]) * learning
    result = sum(4 * _size(networks[name]) for name in stage.train)
    return StagePlan(stage.name, learning, memory, state, result, operations * stage.references * stage.steps)


def _one_person(config: TrainingConfig, stage: StageConfig, model: Components, half: bool) -> tuple[int, int]:
    """Return bytes saved for the backward pass, and operations of both passes, for one person of a step."""
    parameters = [p for network in model.networks().values() for p in network.parameters()]
    heads = model.unet.config.attention_head_dim
    saved = _SavedTensors(parameters, half, heads if isinstance(heads, int) else heads[0])
    networks = {name: network for name, network in model.networks().items() if name != "vae"}
    hooks = add_temporal_hooks(model.unet)
    hooks.checkpointing = saved.checkpoint
    for network in networks.values():
        if stage.checkpointing:
            network.enable_gradient_checkpointing(gradient_checkpointing_func=saved.checkpoint)
    with FlopCounterMode(display=False) as counter:
        with torch.autograd.graph.saved_tensors_hooks(saved.pack, lambda tensor: tensor):
            loss = _loss(config, stage, model)
        forward = counter.get_total_flops()
        if not stage.checkpointing:
            loss.backward()
    for network in networks.values():
        network.disable_gradient_checkpointing()
    hooks.checkpointing = None
    # The backward pass takes about twice the forward pass, and recomputation once more; frozen weights take less.
    operations = 4 * forward if stage.checkpointing else counter.get_total_flops()
    return saved.total, operations + _sampling(config, stage, model)


def _sampling(config: TrainingConfig, stage: StageConfig, model: Components) -> int:
    """Return the operations of a rollout for one person of a step."""
    if not stage.rollout_steps:
        return 0
    predictions = []
    for controlled in (True, False):
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            _predicted(config, stage, model, controlled)
        predictions.append(counter.get_total_flops())
    conditional, unconditional = predictions
    guided = conditional + (unconditional if stage.rollout_guidance != 1 else 0)
    if stage.train == ["temporal_decoder"]:
        return stage.rollout_steps * guided
    # Stopped at any step but the last; the conditional prediction there is the one that learns, counted already.
    return (stage.rollout_steps - 1) * guided // 2 + guided - conditional


def _loss(config: TrainingConfig, stage: StageConfig, model: Components) -> Tensor:
    size, vae = config.data.size, model.vae
    if stage.train == ["vae"]:
        side = stage.crop or size
        return vae.decode(vae.encode(_empty(stage.targets, 3, side, side)).latent_dist.mean).sample.sum()
    if stage.train == ["temporal_decoder"] and model.motion:
        side = size // vae_scale_factor(vae)
        with apply_temporal_decoder(vae, model.motion.temporal_decoder, stage.targets):
            return vae.decode(_empty(stage.targets, vae.config.latent_channels, side, side)).sample.sum()
    return _predicted(config, stage, model, True).sum()


def _predicted(config: TrainingConfig, stage: StageConfig, model: Components, controlled: bool) -> Tensor:
    size, side, channels = (
        config.data.size,
        config.data.size // vae_scale_factor(model.vae),
        model.unet.config.in_channels,
    )
    context = model.context.to("meta")
    t, times = (torch.empty(n, dtype=torch.long, device="meta") for n in (1, stage.targets))
    noisy = _empty(stage.targets, channels, side, side)
    if not controlled:
        return predict(Networks(model.unet), noisy, times, context)
    networks = Networks(model.unet, **{name: getattr(model, name) for name in stage.controls})
    source = read_reference(networks, _empty(1, channels, side, side), t, context)
    residuals = read_pose(networks, noisy, times, context, _empty(stage.targets, 3, size, size))
    return predict(networks, noisy, times, context, source, residuals, 1.0)


def _empty(*shape: int) -> Tensor:
    return torch.empty(shape, device="meta")


class _SavedTensors:
    """Counts the bytes that autograd saves for the backward pass: each storage once, no weights, no attention maps.

    Attention on the meta device saves its maps, which attention on a GPU does not; they are taken to be the tensors
    `[..., heads, T, S]` with S a multiple of T.
    """

    def __init__(self, parameters: Iterable[Tensor], half: bool, heads: int):
        # Networks are counted in float32. Under autocast about a third of it, the inputs of norms, remains float32.
        self._half, self._factor, self._heads = half, 2 / 3 if half else 1.0, heads
        self._counted = {StorageWeakRef(p.untyped_storage()).cdata for p in parameters}
        self._alive: list[Tensor] = []  # otherwise a new storage could get the address of a freed one
        self.total, self._largest = 0, 0

    def pack(self, tensor: Tensor) -> Tensor:
        self.total += self._count(tensor)
        return tensor

    def checkpoint(self, module: Callable, *arguments):
        """Run a block of which only the inputs are saved, and the largest block once, for it is recomputed."""
        inputs = sum(self._count(a) for a in arguments if isinstance(a, Tensor) and a.requires_grad) / self._factor
        self.total += int(inputs / 2 if self._half else inputs)
        inside = _SavedTensors([], self._half, self._heads)
        inside._counted = set(self._counted)
        with torch.autograd.graph.saved_tensors_hooks(inside.pack, lambda tensor: tensor):
            out = module(*arguments)
        self.total += max(0, inside.total - self._largest)
        self._largest = max(self._largest, inside.total)
        return out

    def _count(self, tensor: Tensor) -> int:
        storage = StorageWeakRef(tensor.untyped_storage()).cdata
        if storage in self._counted or self._is_attention_map(tensor):
            return 0
        self._counted.add(storage)
        self._alive.append(tensor)
        return int(tensor.untyped_storage().nbytes() * self._factor)

    def _is_attention_map(self, tensor: Tensor) -> bool:
        if tensor.dim() not in (3, 4):
            return False
        heads, (rows, columns) = tensor.shape[tensor.dim() - 3], tensor.shape[-2:]
        return heads % self._heads == 0 and heads <= 8 * self._heads and rows >= 64 and columns % rows == 0


def _size(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def _final(config: TrainingConfig) -> int:
    return DTYPES[config.export].itemsize * sum(map(_size, _empty_model(config).networks().values()))


def _cache(config: TrainingConfig) -> Mapping[str, int]:
    """Return the bytes of drawn puppets and cached latents; nothing for a data set that does not exist yet."""
    data = config.data
    if data.kind == "videos" and not Path(data.folder or "").exists():
        return {}
    try:
        frames = open_frames(data, Path("."))
    except InputError:
        return {}
    model, count = _empty_model(config), sum(video.frames for video in frames.videos)
    sizes = {}
    if data.kind == "puppets":
        sizes["puppets"] = count * 2 * 3 * frames.videos[0].width ** 2
    if data.crops:
        side = data.size // vae_scale_factor(model.vae)
        sizes["latents"] = count * data.crops * 2 * model.vae.config.latent_channels * side**2
    return sizes
