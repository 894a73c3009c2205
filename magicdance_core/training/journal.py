"""What a run tells while it goes: progress, the log, pictures, held-out losses."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

import torch
from accelerate import Accelerator
from PIL import Image
from safetensors.torch import save_file
from torch import nn
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
from .validation import held_out_losses

LOG_EVERY = 20


class Journal:
    """Speaks on the main process only; nothing of it changes what is trained."""

    def __init__(self, config: TrainingConfig, folder: RunFolder, accelerator: Accelerator, frames: FrameSet):
        self.config, self.folder, self.accelerator, self.frames = config, folder, accelerator, frames
        self.speaks = accelerator.is_main_process
        self._bar: tqdm | None = None
        self._losses: list[float] = []
        self._first, self._started = 0, 0.0

    def __enter__(self) -> Journal:
        if self.config.trackers:
            if len(self.accelerator.log_with) < len(self.config.trackers):
                raise InputError(
                    f"trackers names {', '.join(self.config.trackers)}: not all are installed; pip install."
                )
            self.accelerator.init_trackers("magicdance")
        return self

    def __exit__(self, *error) -> None:
        self.end()
        if self.config.trackers:
            self.accelerator.end_training()

    def say(self, sentence: str) -> None:
        if self.speaks:
            tqdm.write(sentence)

    def begin(self, index: int, step: int, objective: Objective) -> None:
        """A stage starts, or goes on after `step` steps."""
        stage = self.config.stages[index]
        self._objective, self._losses = objective, []
        self._first, self._started = step, time.monotonic()
        self._bar = tqdm(desc=stage.name, total=stage.steps, initial=step, unit="step", disable=not self.speaks)

    def end(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    @contextlib.contextmanager
    def progress(self, what: str) -> Iterator[Callable[[int, int], None]]:
        """A bar for work beside the steps: the block gets a function of (done, of how many)."""
        with tqdm(desc=what, unit="part", disable=not self.speaks) as bar:

            def tell(done: int, total: int) -> None:
                bar.total = total
                bar.update(done - bar.n)

            yield tell

    def record(self, index: int, step: int, loss: float, rate: float) -> None:
        """A step is done."""
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
        if self.speaks:
            self.folder.write_log({"stage": stage.name, "step": step} | values)
        if self.config.trackers:
            named = {f"{stage.name}/{key}": value for key, value in values.items() if isinstance(value, float)}
            self.accelerator.log(named, step=sum(s.steps for s in self.config.stages[:index]) + step)

    def show_batch(self, index: int, model: Components, batch: Batch) -> None:
        """The first batch of a stage, as pictures, before its first step."""
        if self.speaks:
            self._save("first-batch", index, batch_sheet(batch, model))

    def looks(self, stage: StageConfig, step: int) -> bool:
        """Whether something is looked at after `step` steps; then the networks should hold their averaged weights."""
        return any(every and step % every == 0 for every in (stage.validate_every, stage.sample_every))

    def look(self, index: int, step: int, model: Components, module: nn.Module) -> None:
        """Held-out losses and sampled pictures, where their steps have come."""
        stage = self.config.stages[index]
        if self.speaks:
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
            self.say(f"no pictures after step {step}: the memory is not enough beside the training")
            return
        finally:
            if self.accelerator.device.type == "cuda":
                torch.cuda.empty_cache()
        if sheet is not None:
            self._save(f"{step:08d}", index, sheet)

    def _save(self, what: str, index: int, sheet: Image.Image) -> None:
        write_picture(self.folder.pictures / f"{index:02d}-{self.config.stages[index].name}-{what}.png", sheet)

    def broken(self, index: int, step: int, batch: Batch, loss: float) -> str:
        """Keep a batch whose loss is not a number; what to tell about it."""
        path = self.folder.path / f"broken-batch-{self.accelerator.process_index}.safetensors"
        with atomic_write(path) as part:
            save_file({name: tensor.cpu().contiguous() for name, tensor in batch.items()}, part)
        return (
            f"The loss of {self.config.stages[index].name} became {loss} in step {step + 1} "
            f"(videos {', '.join(map(str, batch['video'].tolist()))}; the batch is kept in {path}): look at "
            "its pictures, lower learning_rate or set clip, and start again: the run goes on from its last state."
        )

    def finish(self) -> None:
        """The last word: where the weights are, and what to do with them."""
        if not self.speaks:
            return
        final = self.folder.final
        command = f"python -m magicdance_core animate --model {final} --reference IMG --poses DIR --out dance.mp4"
        write_report(self.config, self.folder, command)
        print(f"trained weights in {final}; report in {self.folder.report}\n{command}")
