"""The training loop on Hugging Face Accelerate: stages one after another, resumable at any moment."""

from __future__ import annotations

import contextlib
import itertools
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, send_to_device
from torch import Tensor, nn

from ..checkpoints import Components, save_published, weights_fingerprint
from ..checkpoints.text_encoder import prompt_encoder
from ..cpu import threads, threads_for
from ..data import open_frames
from ..data.captions import Captions
from ..data.frame_sets import FrameSet
from ..data.latent_cache import LatentCache
from ..data.samples import Batch, ProcessBatches, load_batches
from ..errors import InputError
from .average import Average
from .config import StageConfig, TrainingConfig
from .journal import Journal
from .low_rank import add_low_rank, merge_low_rank
from .objectives import AutoencoderObjective, DecodingObjective, DiffusionObjective, LatentSpace, Objective, to_unit
from .optimizer import learning_rate_factor, make_optimizers
from .run_folder import RunFolder, State
from .starting import DTYPES, learners, start_from_unet, starting_point, with_stored_weights
from .step import TrainingStep

PRECISIONS = {"float32": "no", "bfloat16": "bf16", "float16": "fp16"}
SCALE_PICTURES = 2048
"""Pictures from which the scale of a new VAE's latents is measured."""


@dataclass
class Run:
    """What all stages share."""

    config: TrainingConfig
    folder: RunFolder
    accelerator: Accelerator
    frames: FrameSet
    model: Components
    journal: Journal
    captions: Captions | None = None

    @property
    def networks(self) -> dict[str, nn.Module]:
        """By the names that a stage's `train` has; parts after their wholes."""
        return learners(self.model)


def train(config: TrainingConfig, out: Path, device: str | None = None, cache: Path | None = None) -> Components:
    """Run all stages, from wherever an earlier run in `out` stopped, and write `out/final/model.safetensors`.

    device: "cpu" for the CPU; by default what Accelerate finds. cache: for drawn puppets and latents, which runs may
    share; `out/cache` by default. Returns the model, with averaged weights, on it.
    Raises InputError for what cannot be trained; KeyboardInterrupt passes through, and the state saved last remains.
    """
    folder = RunFolder(out, cache)
    accelerator = _accelerator(config, folder, device)
    if accelerator.is_main_process:
        folder.claim(config)
    accelerator.wait_for_everyone()
    model = starting_point(config)
    frames = open_frames(config.data, folder.cache)
    number = config.threads or threads_for(*model.networks().values())
    with threads(number), Journal(config, folder, accelerator, frames) as journal:
        run = Run(config, folder, accelerator, frames, model, journal)
        for network in run.networks.values():
            network.to(accelerator.device)
        run.captions = _captions(run)
        for index in range(len(config.stages)):
            if not _take_result(run, index):
                train_stage(run, index)
        if accelerator.is_main_process:
            if not folder.final.exists():
                save_published(folder.final, with_stored_weights(config, model), DTYPES[config.export])
            journal.finish()
        accelerator.wait_for_everyone()
    return model


def train_stage(run: Run, index: int) -> None:
    """Train one stage to its end; its networks then hold the averaged weights, and its result is on the disk."""
    stage, accelerator = run.config.stages[index], run.accelerator
    start_from_unet(run.model.unet, {name: run.networks[name] for name in stage.from_unet})
    learning = _prepare_networks(run, stage, index)
    objective = make_objective(run, stage)
    parameters = {f"{n}.{k}": p for n, net in learning.items() for k, p in net.named_parameters() if p.requires_grad}
    optimizers = make_optimizers(stage.optimizer, learning, stage.learning_rate, stage.weight_decay)
    average = Average(parameters, stage.ema, stage.ema_on_cpu)
    first = _resume(run, index, parameters, average, optimizers)
    module = TrainingStep(run.networks, objective)
    wrapped, *prepared = accelerator.prepare(module, *optimizers)
    for optimizer in prepared:
        optimizer.zero_grad(set_to_none=True)

    shares = ProcessBatches(first, stage.steps, stage.references, _per_pass(run, stage), accelerator.process_index,
                    accelerator.num_processes)  # fmt: skip
    on_gpu = accelerator.device.type == "cuda"
    loader = load_batches(objective.sample, shares, run.config.data.workers, pin=on_gpu)
    run.journal.begin(index, first, objective)
    loader = _shown(loader, lambda batch: run.journal.show_batch(index, run.model, batch))
    if first == 0 and stage.validate_every:  # what the losses after are compared with
        run.journal.look(index, 0, run.model, module)
    saved = time.monotonic()
    for step in range(first, stage.steps):
        rate = stage.learning_rate * learning_rate_factor(step, stage)
        for optimizer in prepared:
            for group in optimizer.param_groups:
                group["lr"] = rate
        loss, batch = _accumulate(accelerator, wrapped, loader, shares.passes)
        if not math.isfinite(loss):
            raise InputError(run.journal.broken(index, step, batch, loss))
        if stage.clip:
            accelerator.clip_grad_norm_(parameters.values(), stage.clip)
        for optimizer in prepared:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        average.step()

        done = step + 1
        run.journal.record(index, done, loss, rate)
        if run.journal.looks(stage, done):
            with average.shown():
                run.journal.look(index, done, run.model, module)
        due = done % stage.save_every == 0 or time.monotonic() - saved > 60 * stage.save_minutes
        if due and done < stage.steps:
            _save_state(run, index, done, parameters, average, prepared)
            saved = time.monotonic()
    run.journal.end()
    average.take()
    _finish_stage(run, stage, index, learning)
    accelerator.free_memory()


def make_objective(run: Run, stage: StageConfig) -> Objective:
    """What a stage minimises, its data ready to be read."""
    config, model = run.config, run.model
    space = LatentSpace.of(model.vae)
    if stage.train == ["vae"]:
        return AutoencoderObjective(run.frames, config.data, stage, config.seed, space)
    latents = _latents(run) if config.data.crops else None
    kind = model.scheduler.config.prediction_type
    of_stage = DecodingObjective if stage.train == ["temporal_decoder"] else DiffusionObjective
    return of_stage(run.frames, latents, config.data, stage, config.seed, model.context, kind, space, run.captions)


def _accelerator(config: TrainingConfig, folder: RunFolder, device: str | None) -> Accelerator:
    # A control that nobody sees in a step, and a UNet alone, leave parameters without a gradient.
    some_unused = any(stage.plain or stage.drop_reference or stage.drop_pose for stage in config.stages)
    try:
        return Accelerator(
            cpu=device == "cpu",
            mixed_precision=PRECISIONS[config.precision],
            log_with=config.trackers or None,
            project_dir=folder.path,
            kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=some_unused)],
        )
    except (ValueError, ImportError) as error:
        raise InputError(f"Accelerate refuses these settings ({error}): change precision or trackers.") from error


def _take_result(run: Run, index: int) -> bool:
    """Give the networks what a finished stage learned; False where it is not finished."""
    stage = run.config.stages[index]
    found = run.folder.load_result(index, stage.name)
    if found is None:
        return False
    weights, facts = found
    start_from_unet(run.model.unet, {name: run.networks[name] for name in stage.from_unet})
    for name in stage.train:
        own = {k.removeprefix(f"{name}."): w for k, w in weights.items() if k.startswith(f"{name}.")}
        try:
            run.networks[name].load_state_dict(own, strict=not stage.rank)
        except RuntimeError as error:
            raise InputError(f"{run.folder.result(index, stage.name)} does not fit the {name}: remove it.") from error
    if "scaling_factor" in facts:
        run.model.vae.register_to_config(scaling_factor=facts["scaling_factor"])
    return True


def _prepare_networks(run: Run, stage: StageConfig, index: int) -> dict[str, nn.Module]:
    """The networks that learn, their parameters told so, and checkpointing set in all."""
    for name, network in run.networks.items():
        network.requires_grad_(name in stage.train)
        if name != "temporal_decoder" and (name != "vae" or stage.train == ["vae"]):
            (network.enable_gradient_checkpointing if stage.checkpointing else network.disable_gradient_checkpointing)()
    if stage.rank:
        add_low_rank(run.model.appearance, stage.rank, run.config.seed + index)
    return {name: run.networks[name] for name in stage.train}


def _per_pass(run: Run, stage: StageConfig) -> int:
    processes = run.accelerator.num_processes
    per_pass = stage.per_pass or stage.references // processes
    if not per_pass or stage.references % (per_pass * processes):
        raise InputError(
            f"stage {stage.name}: {stage.references} references cannot be shared by {processes} processes"
            f"{f' in passes of {stage.per_pass}' if stage.per_pass else ''}: choose a multiple."
        )
    return per_pass


def _accumulate(accelerator: Accelerator, module: nn.Module, loader, passes: int) -> tuple[float, Batch]:
    """Gradients of one step; the mean loss of all processes, and the last batch of this one."""
    total = torch.zeros((), device=accelerator.device)
    for number in range(passes):
        batch = send_to_device(next(loader), accelerator.device, non_blocking=True)
        with accelerator.no_sync(module) if number < passes - 1 else _nothing():
            loss = module(batch).mean() / passes
            accelerator.backward(loss)
        total += loss.detach()
    return accelerator.reduce(total, "mean").item(), batch


def _shown(loader: Iterator[Batch], show: Callable[[Batch], None]) -> Iterator[Batch]:
    """The same batches; the first is shown before anybody learns from it."""
    first = next(loader)
    show(first)
    return itertools.chain([first], loader)


def _resume(run: Run, index: int, parameters: dict[str, Tensor], average: Average, optimizers: list) -> int:
    """The first step to do, with weights, averages and optimizers as they were then."""
    state = run.folder.load_state(index)
    if run.accelerator.is_main_process:
        names = [stage.name for stage in run.config.stages]
        run.folder.cut_log(names[:index], names[index], state.step if state else 0)
    if state is None:
        return 0
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(state.weights[name])
    average.load(state.average, state.average_steps)
    for optimizer, saved in zip(optimizers, state.optimizers):
        optimizer.load_state_dict(saved)
    run.journal.say(f"continuing {run.config.stages[index].name} after step {state.step}")
    if state.threads != torch.get_num_threads():
        run.journal.say(
            f"the run used {state.threads} threads and uses {torch.get_num_threads()} now: the last digits will differ "
            f"from an uninterrupted run's (threads: {state.threads} keeps them)"
        )
    return state.step


def _save_state(run: Run, index: int, step: int, parameters: dict, average: Average, optimizers: list) -> None:
    if not run.accelerator.is_main_process:
        return
    averaged, average_steps = average.state()
    states = [optimizer.state_dict() for optimizer in optimizers]
    state = State(step, parameters, averaged, average_steps, states, torch.get_num_threads())
    run.folder.save_state(index, state, run.config.keep)


def _finish_stage(run: Run, stage: StageConfig, index: int, learning: dict[str, nn.Module]) -> None:
    if stage.rank:
        merge_low_rank(run.model.appearance)
    for network in learning.values():
        network.requires_grad_(False)
    facts = {"steps": stage.steps}
    if stage.train == ["vae"]:
        facts["scaling_factor"] = measure_scaling_factor(run)
        run.model.vae.register_to_config(scaling_factor=facts["scaling_factor"])
    if run.accelerator.is_main_process:
        weights = {f"{name}.{key}": w for name, network in learning.items() for key, w in network.state_dict().items()}
        run.folder.save_result(index, stage.name, weights, facts)
    run.accelerator.wait_for_everyone()


@torch.no_grad()
def measure_scaling_factor(run: Run) -> float:
    """What makes the standard deviation of latents 1, measured on pictures of the training set."""
    from ..data.crops import central_crop, crop_picture

    rows, config, vae = [], run.config.data, run.model.vae
    places = ((v, f) for v, video in enumerate(run.frames.videos) if video.split == "train"
              for f in range(video.frames))  # fmt: skip
    pictures = []
    for (video, frame), _ in zip(places, range(SCALE_PICTURES)):
        of = run.frames.videos[video]
        image = run.frames.read(video, frame).image
        pictures.append(torch.from_numpy(crop_picture(image, central_crop(of.width, of.height), config.size).copy()))
    for part in torch.stack(pictures).split(max(1, 2**18 // config.size**2)):
        unit = to_unit(part).to(run.accelerator.device, vae.dtype)
        rows.append(vae.encode(unit * 2 - 1).latent_dist.mode().float().cpu())
    return round(1 / torch.cat(rows).std().item(), 5)


def _latents(run: Run) -> LatentCache:
    """The latents of all frames, encoded now where they are missing."""
    accelerator = run.accelerator
    cache = LatentCache(run.frames, run.config.data, run.config.seed, run.model.vae, run.folder.cache)
    if accelerator.is_main_process:
        cache.cache.make()
    accelerator.wait_for_everyone()
    with run.journal.progress("encoding") as progress:
        cache.fill(run.model.vae, accelerator.device, accelerator.process_index, accelerator.num_processes, progress)
    accelerator.wait_for_everyone()
    return cache


def _captions(run: Run) -> Captions | None:
    """The captions, encoded now where they are not; the text tower is let go."""
    config, tower, run.model.text_encoder = run.config, run.model.text_encoder, None
    if not config.data.captions:
        return None
    tokenizer = Path(config.start.tokenizer or Path(config.start.model) / "tokenizer")
    encode = prompt_encoder(tower, tokenizer)
    mark = f"{weights_fingerprint(tower)} {tokenizer}"
    captions = Captions(run.frames, mark, run.model.context, run.folder.cache)
    if run.accelerator.is_main_process:
        with run.journal.progress("captions") as progress:
            captions.fill(encode, progress)
    run.accelerator.wait_for_everyone()
    return captions


_nothing = contextlib.nullcontext
