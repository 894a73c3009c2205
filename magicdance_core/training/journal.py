"""Progress bar, log, held-out losses and pictures of a run."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

import torch
from accelerate import Accelerator
from PIL import Image
from safetensors.torch import save_file
from torch import nn
from torch.utils.data import default_collate
from tqdm import tqdm

from ..checkpoints import Components
from ..data.frame_sets import FrameSet
from ..data.samples import Batch
from ..errors import InputError
from ..files import atomic_write
from ..media import write_picture
from .config import StageConfig, TrainingConfig
from .objectives import Objective
from .report import write_report
from .run_folder import RunFolder
from .sample_pictures import batch_sheet, reconstruction_sheet, sampled_sheet

LOG_EVERY = 20


class Journal:
    """Reports a run, on the main process only; it does not influence what is trained."""

    def __init__(self, config: TrainingConfig, folder: RunFolder, accelerator: Accelerator, frames: FrameSet):
        self.config, self.folder, self.accelerator, self.frames = config, folder, accelerator, frames
        self.is_main = accelerator.is_main_process
        self._bar = tqdm(disable=True)
        self._losses: list[float] = []
        self._first, self._started = 0, 0.0

    def __enter__(self) -> Journal:
        if self.config.trackers:
            self.accelerator.init_trackers("magicdance")
        return self

    def __exit__(self, *error: object) -> None:
        self.end()
        if self.config.trackers:
            self.accelerator.end_training()

    def print(self, sentence: str) -> None:
        """Print a line above the progress bar."""
        if self.is_main:
            tqdm.write(sentence)

    def begin(self, index: int, step: int, objective: Objective) -> None:
        """Start the progress bar of a stage, after `step` steps."""
        stage = self.config.stages[index]
        self._objective, self._losses = objective, []
        self._first, self._started = step, time.monotonic()
        self._bar = tqdm(desc=stage.name, total=stage.steps, initial=step, unit="step", disable=not self.is_main)

    def end(self) -> None:
        """Close the progress bar; that of a stage that was refused before its first step goes."""
        self._bar.leave = self._bar.n > 0
        self._bar.close()

    @contextlib.contextmanager
    def progress(self, description: str) -> Iterator[Callable[[int, int], None]]:
        """Show a progress bar for other work; the block gets a function of (parts done, parts in all)."""
        with tqdm(desc=description, unit="part", disable=not self.is_main) as bar:

            def update(done: int, total: int) -> None:
                bar.total = total
                bar.update(done - bar.n)

            yield update

    def record(self, index: int, step: int, loss: float, rate: float) -> None:
        """Record a finished step; every LOG_EVERY steps the mean loss is written to the log."""
        stage = self.config.stages[index]
        self._losses.append(loss)
        self._bar.set_postfix(loss=f"{loss:.4g}", lr=f"{rate:.3g}", refresh=False)
        self._bar.update()
        if step % LOG_EVERY and step < stage.steps:
            return
        seconds = time.monotonic() - self._started
        values = {"loss": sum(self._losses) / len(self._losses), "rate": rate, "seconds": round(seconds, 1)}
        self._write(index, step, values | {"rate_of_steps": round((step - self._first) / max(seconds, 1e-9), 4)})
        self._losses = []

    def _write(self, index: int, step: int, values: dict) -> None:
        stage = self.config.stages[index]
        if self.is_main:
            self.folder.write_log({"stage": stage.name, "step": step} | values)
        if self.config.trackers:
            named = {f"{stage.name}/{key}": value for key, value in values.items() if isinstance(value, float)}
            self.accelerator.log(named, step=sum(s.steps for s in self.config.stages[:index]) + step)

    def save_first_batch(self, index: int, model: Components, batch: Batch) -> None:
        """Save the first batch of a stage as a picture."""
        if self.is_main:
            self._save("first-batch", index, batch_sheet(batch, model))

    def should_validate(self, stage: StageConfig, step: int) -> bool:
        """Return whether `validate` has something to do after `step` steps."""
        return any(every and step % every == 0 for every in (stage.validate_every, stage.sample_every))

    def validate(self, index: int, step: int, model: Components, module: nn.Module) -> None:
        """Log held-out losses and save sampled pictures, if they are due; the networks should hold averaged weights."""
        stage = self.config.stages[index]
        if self.is_main:
            if stage.validate_every and step % stage.validate_every == 0:
                losses = held_out_losses(module, self._objective, self.config.validation, self.accelerator.device)
                if losses:
                    self._write(index, step, losses)
            if stage.sample_every and step and step % stage.sample_every == 0:
                self._sample(index, step, model)
        self.accelerator.wait_for_everyone()

    def _sample(self, index: int, step: int, model: Components) -> None:
        stage, config = self.config.stages[index], self.config
        try:
            with self.accelerator.autocast():
                if stage.train == ["vae"]:
                    sheet = reconstruction_sheet(self.frames, config.data, config.seed, model, config.pictures)
                else:
                    sheet = sampled_sheet(self.frames, config.data, stage, config.seed, model, config.pictures)
        except torch.OutOfMemoryError:
            self.print(f"no pictures after step {step}: the memory is not enough for them beside the training")
            return
        finally:
            if self.accelerator.device.type == "cuda":
                torch.cuda.empty_cache()
        if sheet is not None:
            self._save(f"{step:08d}", index, sheet)

    def _save(self, name: str, index: int, sheet: Image.Image) -> None:
        write_picture(self.folder.pictures / f"{index:02d}-{self.config.stages[index].name}-{name}.png", sheet)

    def save_failed_batch(self, index: int, step: int, batch: Batch, loss: float) -> str:
        """Save a batch whose loss is not finite; return the message of the error."""
        path = self.folder.path / f"failed-batch-{self.accelerator.process_index}.safetensors"
        with atomic_write(path) as part:
            save_file({name: tensor.cpu().contiguous() for name, tensor in batch.items()}, part)
        return (
            f"The loss of {self.config.stages[index].name} is {loss} in step {step + 1} "
            f"(videos {', '.join(map(str, batch['video'].tolist()))}; the batch is saved in {path}): look at "
            "its pictures, lower learning_rate or set clip, and start again; the run resumes from its last state."
        )

    def finish(self) -> None:
        """Write the report, and print where the weights are and how to use them."""
        if not self.is_main:
            return
        final = self.folder.final
        command = f"python -m magicdance_core animate --model {final} --reference IMG --poses DIR --out dance.mp4"
        write_report(self.config, self.folder, command)
        print(f"trained weights in {final}; report in {self.folder.report}\n{command}")


@torch.no_grad()
def held_out_losses(module: nn.Module, objective: Objective, people: int, device: torch.device) -> dict[str, float]:
    """Return mean losses of `people` held-out samples: "held_out" over all of them, and over each band of timesteps,
    if the objective has several, "held_out_1" (little noise) to "held_out_4" (much).

    Samples, noise and timesteps are the same each time, so that values of different steps can be compared. One sample
    at a time goes through the networks. Empty if the data set has no validation split.
    """
    bands: list[list[float]] = [[] for _ in range(objective.bands)]
    for index in range(people * objective.bands):
        try:
            batch = default_collate([objective.held_out(index)])
        except InputError:
            if index:
                raise
            return {}
        loss = module({name: value.to(device) for name, value in batch.items()})
        bands[index % objective.bands].append(loss.item())
    means = [sum(band) / len(band) for band in bands]
    by_band = {f"held_out_{number + 1}": mean for number, mean in enumerate(means)} if len(means) > 1 else {}
    return {"held_out": sum(means) / len(means)} | by_band
