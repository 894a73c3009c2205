"""The folder of a run: its configuration, the results of stages, and saved states."""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from ..checks import shown
from ..errors import InputError
from ..files import atomic_folder, atomic_write, check_folder, check_target, read_bytes, read_json, write_text
from ..schema import build, differences, plain
from .config import TrainingConfig
from .stored import StageFacts, StateFacts, log_record, read_optimizers, read_weights

MARK = "state.json"
STAGE_METADATA = "magicdance_stage"
STATE_NAME = re.compile(r"\d{2}-(\d{8})")


@dataclass(frozen=True)
class State:
    """The state of a stage after `step` steps.

    weights: of the networks that learn. average: their averaged weights, in the order of the parameters; average_steps:
    number of its updates. optimizers: their state dicts. threads: of torch, which the last digits depend on.
    """

    step: int
    weights: dict[str, Tensor]
    average: list[Tensor]
    average_steps: int
    optimizers: list[dict]
    threads: int


class RunFolder:
    """Paths and files of a run. Files and folders are written completely or not at all.

    config.json, log.jsonl, report.html; stages/NN-NAME.safetensors: weights of finished stages; states/NN-STEP/: saved
    states; final/model.safetensors; pictures/; cache/: drawn puppets and latents.
    """

    def __init__(self, path: Path, cache: Path | None = None):
        self.path = Path(path)
        self.cache, self.pictures = cache or self.path / "cache", self.path / "pictures"
        self.log, self.report = self.path / "log.jsonl", self.path / "report.html"
        self.final = self.path / "final" / "model.safetensors"

    def check(self, config: TrainingConfig) -> None:
        """Check that a run may use the folder; nothing is written.

        Raises InputError that names the differing key if the folder holds results of another configuration, and if
        something in it leads out of it or is neither file nor folder.
        """
        file = self.path / "config.json"
        check_target(file)
        check_target(self.final)
        for folder in {self.path, self.cache}:
            if folder.is_dir():
                check_folder(folder)
        learned = self.path.is_dir() and any(itertools.chain(self.path.glob("stages/*"), self.path.glob("states/*")))
        if file.exists() and learned:
            try:
                before = build(TrainingConfig, read_json(file, "a run's configuration"), str(file))
            except InputError as error:
                raise InputError(
                    f"{self.path} holds a run that cannot be resumed ({error}): give another folder with --out."
                ) from error
            for key, old, new in differences(before, config):
                raise InputError(
                    f"{self.path} holds a run with another configuration: {key} was {shown(old)} and is {shown(new)}. "
                    "Give another folder with --out, or the old value."
                )
        elif learned:
            raise InputError(f"{self.path} holds a run without its config.json: give another folder with --out.")

    def claim(self, config: TrainingConfig) -> None:
        """Write the configuration to the folder. Raises InputError as `check` does."""
        self.check(config)
        write_text(self.path / "config.json", json.dumps(plain(config), indent=2) + "\n")

    def discard_unused(self) -> None:
        """Remove the folder of a refused run that has made nothing yet."""
        made = (self.log, self.pictures, self.path / "stages", self.path / "states", self.final)
        cached = self.cache.glob("*/*.npy")
        if not any(path.exists() for path in made) and not any(_is_begun(file) for file in cached):
            shutil.rmtree(self.path, ignore_errors=True)

    def result(self, number: int, name: str) -> Path:
        """Return the file of the weights that a stage learned."""
        return self.path / "stages" / f"{number:02d}-{name}.safetensors"

    def lora(self, number: int, name: str, network: str) -> Path:
        """Return the file of the low-rank matrices that a network learned in a stage."""
        return self.path / "stages" / f"{number:02d}-{name}.lora-{network}.safetensors"

    def save_result(self, number: int, name: str, weights: Mapping[str, Tensor], facts: dict) -> None:
        """Save the weights of a finished stage. facts: other results, such as the VAE's scaling factor."""
        tensors = {name: weight.detach().cpu().contiguous() for name, weight in weights.items()}
        size = sum(tensor.nbytes for tensor in tensors.values())
        with _explained(self.result(number, name)), atomic_write(self.result(number, name), size) as part:
            save_file(tensors, part, {STAGE_METADATA: json.dumps(facts)})  # one key, for equal runs give equal bytes
        self._prune(number, keep=0)

    def load_result(self, number: int, name: str) -> tuple[dict[str, Tensor], StageFacts] | None:
        """Return weights and facts of a finished stage; None if it is not finished. Raises InputError if damaged."""
        path = self.result(number, name)
        if not path.exists():
            return None
        try:
            weights, metadata = read_weights(path)
            return weights, build(StageFacts, json.loads(metadata[STAGE_METADATA]), STAGE_METADATA)
        except (SafetensorError, OSError, KeyError, ValueError, TypeError, RecursionError) as error:
            raise InputError(
                f"{path} is damaged ({_reason(error)}): remove it and later files, and the stage is trained again."
            ) from error

    def save_state(self, number: int, state: State, keep: int) -> None:
        """Save a state of stage `number`, then remove all but its last `keep` states."""
        target = self.path / "states" / f"{number:02d}-{state.step:08d}"
        tensors = {name: weight.detach().cpu().contiguous() for name, weight in state.weights.items()}
        average = {str(k): weight.detach().cpu().contiguous() for k, weight in enumerate(state.average)}
        size = sum(tensor.nbytes for tensor in (*tensors.values(), *average.values())) + _bytes(state.optimizers)
        with _explained(target), atomic_folder(target, size, replaces=MARK) as part:
            save_file(tensors, part / "weights.safetensors")
            save_file(average, part / "average.safetensors")
            torch.save(state.optimizers, part / "optimizers.pt")
            facts = {"step": state.step, "threads": state.threads, "average_steps": state.average_steps}
            write_text(part / MARK, json.dumps(facts))
        self._prune(number, keep)

    def load_state(self, number: int, check: Callable[[State], None]) -> State | None:
        """Return the last saved state of a stage, None if there is none.

        check: raises InputError if the state is not of the networks. Raises InputError if it is damaged.
        """
        states = self._states(number)
        if not states:
            return None
        path = states[-1]
        try:
            facts = build(StateFacts, read_json(path / MARK, "a state"), MARK)
            if facts.step != int(path.name[3:]):
                raise InputError(f"{MARK} is of step {facts.step}")
            weights, average = (read_weights(path / f"{name}.safetensors")[0] for name in ("weights", "average"))
            averages = [average[str(k)] for k in range(len(average))]
            optimizers = read_optimizers(path / "optimizers.pt")
            state = State(facts.step, weights, averages, facts.average_steps, optimizers, facts.threads)
            check(state)
            return state
        except Exception as error:  # readers raise nearly anything for damaged bytes
            if isinstance(error, MemoryError):
                raise
            raise InputError(
                f"The state {path} is damaged ({_reason(error)}): remove it, and the run resumes from the state before "
                "or restarts the stage."
            ) from error

    def cut_log(self, stages: list[str], stage: str, step: int) -> None:
        """Remove records of steps that will be done again. stages: the finished ones. stage: the current one."""
        if not self.log.exists():
            return
        kept = [
            record
            for record in self.records()
            if record["stage"] in stages or (record["stage"] == stage and record["step"] <= step)
        ]
        write_text(self.log, "".join(f"{json.dumps(record)}\n" for record in kept))

    def records(self) -> list[dict[str, Any]]:
        """Return the records of the log, without lines that a killed process or somebody else wrote."""
        records = []
        for line in read_bytes(self.log).decode("utf-8", "replace").splitlines():
            with contextlib.suppress(ValueError, RecursionError):
                records.append(log_record(json.loads(line)))
        return records

    def write_log(self, record: dict) -> None:
        """Append a record to the log."""
        with self.log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def _states(self, number: int) -> list[Path]:
        states = self.path.glob(f"states/{number:02d}-*")
        return sorted(path for path in states if STATE_NAME.fullmatch(path.name) and (path / MARK).is_file())

    def _prune(self, number: int, keep: int) -> None:
        states = self._states(number)
        for path in states[: len(states) - keep]:
            shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Convert errors in writing tensors to InputError; earlier files remain."""
    try:
        yield
    except InputError:
        raise
    except (SafetensorError, RuntimeError) as error:
        reason = str(error).split("\n")[0]
        raise InputError(
            f"Cannot write {path}: {reason}; make room and start again, the last state remains."
        ) from error


def _reason(error: Exception) -> str:
    return str(error).split("\n")[0].rstrip(".") or type(error).__name__


def _is_begun(file: Path) -> bool:
    """Return whether the marks of finished parts in a cache, "done" and "drawn", have a mark."""
    with contextlib.suppress(OSError, ValueError):
        return file.name in ("done.npy", "drawn.npy") and bool(np.load(file, mmap_mode="r").any())
    return False


def _bytes(value: object) -> int:
    if isinstance(value, Tensor):
        return value.nbytes
    if isinstance(value, dict):
        return sum(map(_bytes, value.values()))
    return sum(map(_bytes, value)) if isinstance(value, (list, tuple)) else 0
