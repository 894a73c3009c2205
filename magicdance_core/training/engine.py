"""The training loop on Hugging Face Accelerate: one stage after another, resumable after a kill at any moment."""

from __future__ import annotations

import itertools
import logging
import math
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, send_to_device
from diffusers import ModelMixin
from torch import Tensor, nn

from ..checkpoints import Components, load, save_lora, save_published, weights_fingerprint
from ..checkpoints.tensors import TensorFile
from ..checkpoints.text_encoder import prompt_encoder
from ..cpu import threads, threads_for
from ..data import open_frames
from ..data.captions import Captions
from ..data.crops import central_crop, crop_picture
from ..data.frame_sets import FrameSet
from ..data.latent_cache import LatentCache
from ..data.samples import Batch, ProcessBatches, load_batches
from ..errors import InputError
from ..files import atomic_folder
from ..sampling.vae import VAE_PIXELS
from .config import StageConfig, TrainingConfig
from .journal import Journal
from .low_rank import add_low_rank, low_rank_networks, merge_low_rank
from .objectives import AutoencoderObjective, DecodingObjective, DiffusionObjective, LatentSpace, Objective, to_unit
from .optimizer import Average, learning_rate_factor, load_optimizer, make_optimizers
from .preflight import check_stages, people_per_pass
from .run_folder import RunFolder, State
from .starting import DTYPES, start_from_unet, starting_point, trainable_networks, with_stored_weights
from .stored import StageFacts, check_averages, check_optimizer, check_weights

PRECISIONS = {"float32": "no", "bfloat16": "bf16", "float16": "fp16"}
MIN_DEVIATION = 2e-4
SCALE_PICTURES = 2048
"""Number of pictures from which the scaling factor of a new VAE is measured."""


@dataclass
class TrainingRun:
    """The state that all stages of a run share."""

    config: TrainingConfig
    folder: RunFolder
    accelerator: Accelerator
    frames: FrameSet
    model: Components
    journal: Journal
    captions: Captions | None = None

    @property
    def networks(self) -> dict[str, ModelMixin]:
        """The networks by the names that `StageConfig.train` takes."""
        return trainable_networks(self.model)


class TrainingStep(nn.Module):
    """The networks and the objective of a stage as one module, so that Accelerate wraps all networks at once."""

    def __init__(self, networks: dict[str, ModelMixin], objective: Objective):
        super().__init__()
        self.networks = nn.ModuleDict({name: networks[name] for name in objective.networks})
        self.objective = objective

    def forward(self, batch: Batch) -> Tensor:
        """Return the loss of each sample of a batch, float32 `[n]`."""
        return self.objective.loss(dict(self.networks.items()), batch)


def train(config: TrainingConfig, out: Path, device: str | None = None, cache: Path | None = None) -> Components:
    """Run all stages, resuming an earlier run in `out`, and write `out/final/model.safetensors`.

    device: "cpu" for the CPU; by default Accelerate chooses. cache: folder of drawn puppets and latents, which several
    runs may share; `out/cache` by default. Returns the model with averaged weights, on the device.
    Raises InputError for what cannot be trained, before a new folder is made if possible. After a KeyboardInterrupt the
    last saved state remains.
    """
    folder, is_new = RunFolder(out, cache), not out.exists()
    try:
        return _train(config, folder, device)
    except InputError:
        if is_new:
            folder.discard_unused()
        raise


def _train(config: TrainingConfig, folder: RunFolder, device: str | None) -> Components:
    accelerator = _accelerator(config, folder, device)
    folder.check(config)
    model = starting_point(config)
    frames = open_frames(config.data, folder.cache)
    check_stages(config, frames, accelerator.num_processes)
    accelerator.wait_for_everyone()  # until all have looked at the folder
    if accelerator.is_main_process:
        folder.claim(config)
    accelerator.wait_for_everyone()
    number = config.threads or threads_for(*model.networks().values())
    with threads(number), Journal(config, folder, accelerator, frames) as journal:
        run = TrainingRun(config, folder, accelerator, frames, model, journal)
        for network in run.networks.values():
            network.to(accelerator.device)
        run.captions = _captions(run)
        for index in range(len(config.stages)):
            if not _load_result(run, index):
                train_stage(run, index)
        if accelerator.is_main_process:
            if not _is_exported(folder.final):
                _export(run)
            journal.finish()
        accelerator.wait_for_everyone()
    return model


def _is_exported(final: Path) -> bool:
    """Return whether a final model is there and whole; a damaged one is told, and will be written anew."""
    if not final.exists():
        return False
    try:
        TensorFile(final)
    except InputError as error:
        logging.getLogger(__name__).warning("%s: it is written again.", str(error).rstrip("."))
        return False
    return True


def _export(run: TrainingRun) -> None:
    """Write the final model, which gets its name once it has been loaded. Raises InputError if that fails."""
    final, stored = run.folder.final, with_stored_weights(run.config, run.model)
    with atomic_folder(final.parent, replaces=final.name) as part:
        save_published(part / final.name, stored, DTYPES[run.config.export])
        for index, stage in enumerate(run.config.stages):
            for name in low_rank_networks(stage):
                shutil.copyfile(
                    run.folder.lora(index, stage.name, name), part / f"lora-{stage.name}-{name}.safetensors"
                )
        try:
            load(part / final.name)
        except InputError as error:
            raise InputError(
                f"The trained model cannot be used ({str(error).rstrip('.').replace(str(part), 'final')}): lower "
                "learning_rate, set clip, or export: float32; the weights of the stages remain."
            ) from error


def train_stage(run: TrainingRun, index: int) -> None:
    """Train one stage to its end and save its result; its networks then hold the averaged weights."""
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

    process, processes = accelerator.process_index, accelerator.num_processes
    per_pass = people_per_pass(stage, processes)
    numbers = ProcessBatches(first, stage.steps, stage.references, per_pass, process, processes)
    pin = accelerator.device.type == "cuda"
    loader = load_batches(objective.sample, numbers, run.config.data.workers, pin)
    run.journal.begin(index, first, objective)
    loader = _with_first(loader, lambda batch: run.journal.save_first_batch(index, run.model, batch))
    if first == 0 and stage.validate_every:  # the held-out loss before training, to compare later ones with
        run.journal.validate(index, 0, run.model, module)
    saved = time.monotonic()
    for step in range(first, stage.steps):
        rate = stage.learning_rate * learning_rate_factor(step, stage)
        for optimizer in prepared:
            for group in optimizer.param_groups:
                group["lr"] = rate
        loss, batch = _accumulate(accelerator, wrapped, loader, numbers.passes)
        if not math.isfinite(loss):
            raise InputError(run.journal.save_failed_batch(index, step, batch, loss))
        if stage.clip:
            accelerator.clip_grad_norm_(parameters.values(), stage.clip)
        for optimizer in prepared:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        average.step()

        done = step + 1
        run.journal.record(index, done, loss, rate)
        if run.journal.should_validate(stage, done):
            with average.applied():
                run.journal.validate(index, done, run.model, module)
        due = done % stage.save_every == 0 or time.monotonic() - saved > 60 * stage.save_minutes
        if due and done < stage.steps:
            _save_state(run, index, done, parameters, average, prepared)
            saved = time.monotonic()
    run.journal.end()
    average.apply()
    _finish_stage(run, stage, index, learning)
    accelerator.free_memory()


def make_objective(run: TrainingRun, stage: StageConfig) -> Objective:
    """Return the objective of a stage, with its latents cached."""
    config, model = run.config, run.model
    space = LatentSpace.of(model.vae)
    if stage.train == ["vae"]:
        return AutoencoderObjective(run.frames, config.data, stage, config.seed, space)
    latents = _latents(run) if config.data.crops else None
    prediction = model.scheduler.config.prediction_type
    kind = DecodingObjective if stage.train == ["temporal_decoder"] else DiffusionObjective
    return kind(run.frames, latents, config.data, stage, config.seed, model.context, prediction, space, run.captions)


def _accelerator(config: TrainingConfig, folder: RunFolder, device: str | None) -> Accelerator:
    # Parameters of a control that a step drops for all samples get no gradient.
    some_unused = any(stage.plain or stage.drop_reference or stage.drop_pose for stage in config.stages)
    try:
        accelerator = Accelerator(
            cpu=device == "cpu",
            mixed_precision=PRECISIONS[config.precision],
            log_with=config.trackers or None,
            project_dir=folder.path,
            kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=some_unused)],
        )
    except (ValueError, ImportError) as error:
        raise InputError(f"Accelerate refuses the configuration ({error}): change precision or trackers.") from error
    if len(accelerator.log_with) < len(config.trackers):
        names = ", ".join(config.trackers)
        raise InputError(f"trackers is {names}, and not all are installed: install them with pip.")
    return accelerator


def _load_result(run: TrainingRun, index: int) -> bool:
    """Load the weights of a finished stage; return False if it is not finished."""
    stage = run.config.stages[index]
    found = run.folder.load_result(index, stage.name)
    if found is None:
        return False
    weights, facts = found
    _check_result(run, index, weights, facts)
    start_from_unet(run.model.unet, {name: run.networks[name] for name in stage.from_unet})
    for name in stage.train:
        state = {k.removeprefix(f"{name}."): w for k, w in weights.items() if k.startswith(f"{name}.")}
        run.networks[name].load_state_dict(state)
    if facts.scaling_factor is not None:
        run.model.vae.register_to_config(scaling_factor=facts.scaling_factor)
    return True


def _check_result(run: TrainingRun, index: int, weights: dict[str, Tensor], facts: StageFacts) -> None:
    """Raise InputError unless the result of a stage has the weights of its networks."""
    stage = run.config.stages[index]
    wanted = {f"{name}.{key}": w for name in stage.train for key, w in run.networks[name].state_dict().items()}
    try:
        check_weights(weights, wanted, "its weights")
        if facts.steps != stage.steps or (facts.scaling_factor is None) != (stage.train != ["vae"]):
            raise InputError("its facts are of another stage")
    except InputError as error:
        raise InputError(
            f"{run.folder.result(index, stage.name)} does not fit ({error}): remove it and later files, and the "
            "stage is trained again."
        ) from error


def _prepare_networks(run: TrainingRun, stage: StageConfig, index: int) -> dict[str, ModelMixin]:
    """Return the networks that learn; set `requires_grad` and gradient checkpointing of all networks."""
    for name, network in run.networks.items():
        network.requires_grad_(name in stage.train)
        if name != "temporal_decoder" and (name != "vae" or stage.train == ["vae"]):
            (network.enable_gradient_checkpointing if stage.checkpointing else network.disable_gradient_checkpointing)()
    for name in low_rank_networks(stage):
        add_low_rank(run.networks[name], stage, run.config.seed + index)
    return {name: run.networks[name] for name in stage.train}


def _accumulate(accelerator: Accelerator, module: nn.Module, loader, passes: int) -> tuple[float, Batch]:
    """Accumulate the gradients of one step; return the mean loss of all processes and the last batch of this one."""
    total = torch.zeros((), device=accelerator.device)
    for number in range(passes):
        batch = send_to_device(next(loader), accelerator.device, non_blocking=True)
        with accelerator.no_sync(module) if number < passes - 1 else nullcontext():
            loss = module(batch).mean() / passes
            accelerator.backward(loss)
        total += loss.detach()
    return accelerator.reduce(total, "mean").item(), batch


def _with_first(loader: Iterator[Batch], call: Callable[[Batch], None]) -> Iterator[Batch]:
    """Return the same batches, after calling a function with the first."""
    first = next(loader)
    call(first)
    return itertools.chain([first], loader)


def _resume(run: TrainingRun, index: int, parameters: Mapping[str, Tensor], average: Average, optimizers: list) -> int:
    """Load the last saved state of a stage, if there is one; return the first step to do."""
    stage = run.config.stages[index]

    def check(state: State) -> None:
        if state.step >= stage.steps or state.average_steps != (state.step if stage.ema else 0):
            raise InputError(f"it has {state.average_steps} averages after {state.step} of {stage.steps} steps")
        check_weights(state.weights, parameters, "its weights")
        check_averages(state.average, list(parameters.values()) if stage.ema else [])
        if len(state.optimizers) != len(optimizers):
            raise InputError("it has other optimizers")
        for saved, optimizer in zip(state.optimizers, optimizers):
            check_optimizer(saved, optimizer)

    state = run.folder.load_state(index, check)
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
        load_optimizer(optimizer, saved)
    run.journal.print(f"resuming {run.config.stages[index].name} after step {state.step}")
    if state.threads != torch.get_num_threads():
        run.journal.print(
            f"the run used {state.threads} threads and uses {torch.get_num_threads()} now: its last digits will differ "
            f"from those of an uninterrupted run; set threads to {state.threads} to keep them"
        )
    return state.step


def _save_state(run: TrainingRun, index: int, step: int, parameters: dict, average: Average, optimizers: list) -> None:
    if not run.accelerator.is_main_process:
        return
    averaged, average_steps = average.state()
    states = [optimizer.state_dict() for optimizer in optimizers]
    state = State(step, parameters, averaged, average_steps, states, torch.get_num_threads())
    run.folder.save_state(index, state, run.config.keep)


def _finish_stage(run: TrainingRun, stage: StageConfig, index: int, learning: dict[str, ModelMixin]) -> None:
    loras = {name: merge_low_rank(run.networks[name], stage) for name in low_rank_networks(stage)}
    for name, network in learning.items():
        network.requires_grad_(False)
        if not all(weight.isfinite().all() for weight in network.state_dict().values()):
            raise InputError(
                f"Weights of the {name} are not finite after the last step of {stage.name}: lower learning_rate or set "
                "clip, and start again; the last saved state remains."
            )
    facts: dict[str, float] = {"steps": stage.steps}
    if stage.train == ["vae"]:
        facts["scaling_factor"] = measure_scaling_factor(run)
        run.model.vae.register_to_config(scaling_factor=facts["scaling_factor"])
    if run.accelerator.is_main_process:
        for name, pairs in loras.items():
            save_lora(run.folder.lora(index, stage.name, name), name, pairs, DTYPES[run.config.export])
        weights = {f"{name}.{key}": w for name, network in learning.items() for key, w in network.state_dict().items()}
        run.folder.save_result(index, stage.name, weights, facts)
    run.accelerator.wait_for_everyone()


@torch.no_grad()
def measure_scaling_factor(run: TrainingRun) -> float:
    """Return the factor that gives latents a standard deviation of 1, measured on pictures of the training set."""
    rows, config, vae = [], run.config.data, run.model.vae
    training = [(number, video) for number, video in enumerate(run.frames.videos) if video.split == "train"]
    every_frame = ((number, video, frame) for number, video in training for frame in range(video.frames))
    pictures = []
    for number, video, frame in itertools.islice(every_frame, SCALE_PICTURES):
        image = run.frames.read(number, frame).image
        box = central_crop(video.width, video.height)
        pictures.append(torch.from_numpy(crop_picture(image, box, (config.size,) * 2).copy()))
    for part in torch.stack(pictures).split(max(1, VAE_PIXELS // config.size**2)):
        unit = to_unit(part).to(run.accelerator.device, vae.dtype)
        rows.append(vae.encode(unit * 2 - 1).latent_dist.mode().float().cpu())
    deviation = torch.cat(rows).std().item()
    if not MIN_DEVIATION <= deviation <= 1 / MIN_DEVIATION:
        raise InputError(
            f"The VAE's latents have a standard deviation of {deviation:g}, and no scaling factor makes it 1: look at "
            "the pictures, or lower learning_rate."
        )
    return round(1 / deviation, 5)


def _latents(run: TrainingRun) -> LatentCache:
    """Return the latents of all frames, after encoding those that are not cached."""
    accelerator = run.accelerator
    cache = LatentCache(run.frames, run.config.data, run.config.seed, run.model.vae, run.folder.cache)
    if accelerator.is_main_process:
        cache.cache.make()
    accelerator.wait_for_everyone()
    with run.journal.progress("encoding") as progress:
        cache.fill(run.model.vae, accelerator.device, accelerator.process_index, accelerator.num_processes, progress)
    accelerator.wait_for_everyone()
    return cache


def _captions(run: TrainingRun) -> Captions | None:
    """Return the encoded captions, None without `data.captions`; the model's text encoder is released."""
    config, text_encoder, run.model.text_encoder = run.config, run.model.text_encoder, None
    if not config.data.captions:
        return None
    assert config.start is not None
    tokenizer = Path(config.start.tokenizer or Path(config.start.model) / "tokenizer")
    encode = prompt_encoder(text_encoder, tokenizer)
    assert text_encoder is not None
    fingerprint = f"{weights_fingerprint(text_encoder)} {tokenizer}"
    captions = Captions(run.frames, fingerprint, run.model.context, run.folder.cache)
    if run.accelerator.is_main_process:
        with run.journal.progress("captions") as progress:
            captions.fill(encode, progress)
    run.accelerator.wait_for_everyone()
    return captions
