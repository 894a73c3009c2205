"""What a run tells while it goes: progress, the log, pictures, held-out losses."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

from accelerate import Accelerator
from safetensors.torch import save_file
from torch import nn
from tqdm import tqdm

from ..checkpoints import Components
from ..files import whole_file
from .config import StageConfig, TrainingConfig
from .data.batches import Batch
from .folder import RunFolder
from .objectives import Objective

LOG_EVERY = 50


class Journal:
    """Speaks on the main process only; nothing of it changes what is trained."""

    def __init__(self, config: TrainingConfig, folder: RunFolder, accelerator: Accelerator):
        self.config, self.folder, self.accelerator = config, folder, accelerator
        self.speaks = accelerator.is_main_process
        self._bar: tqdm | None = None
        self._losses: list[float] = []
        self._started = 0.0

    def __enter__(self) -> Journal:
        if self.config.trackers:
            self.accelerator.init_trackers("magicdance")
        return self

    def __exit__(self, *error) -> None:
        self.end()
        if self.config.trackers:
            self.accelerator.end_training()

    def say(self, sentence: str) -> None:
        if self.speaks:
            tqdm.write(sentence)

    def begin(self, index: int, step: int, model: Components, objective: Objective) -> None:
        """A stage starts, or goes on after `step` steps."""
        stage = self.config.stages[index]
        self._objective, self._losses, self._started = objective, [], time.monotonic()
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
        seconds = round(time.monotonic() - self._started, 1)
        mean = sum(self._losses) / len(self._losses)
        self._losses = []
        self._write(index, step, {"loss": mean, "rate": rate, "seconds": seconds})

    def _write(self, index: int, step: int, values: dict) -> None:
        stage = self.config.stages[index]
        if self.speaks:
            self.folder.write_log({"stage": stage.name, "step": step} | values)
        if self.config.trackers:
            named = {f"{stage.name}/{key}": value for key, value in values.items() if isinstance(value, float)}
            self.accelerator.log(named, step=sum(s.steps for s in self.config.stages[:index]) + step)

    def show_batch(self, index: int, model: Components, batch: Batch) -> None:
        """The first batch of a stage, as pictures."""

    def looks(self, stage: StageConfig, step: int) -> bool:
        return False

    def look(self, index: int, step: int, model: Components, module: nn.Module) -> None:
        """Held-out losses and sampled pictures, where their steps have come."""

    def broken(self, index: int, step: int, batch: Batch, loss: float) -> str:
        """Keep a batch whose loss is not a number; what to tell about it."""
        path = self.folder.path / f"broken-batch-{self.accelerator.process_index}.safetensors"
        with whole_file(path) as part:
            save_file({name: tensor.cpu().contiguous() for name, tensor in batch.items()}, part)
        return (
            f"The loss of {self.config.stages[index].name} became {loss} in step {step + 1} "
            f"(videos {', '.join(map(str, batch['video'].tolist()))}; the batch is kept in {path}): look at "
            "its pictures, lower learning_rate or set clip, and start again: the run goes on from its last state."
        )

    def finish(self, model: Components) -> None:
        """The last word: where the weights are, and what to do with them."""
        self.say(f"trained weights in {self.folder.final}")
        self.say(
            f"python -m magicdance_core animate --model {self.folder.final} --reference IMG --poses DIR --out FILE"
        )
