"""The folder of a run: its configuration, the results of stages, and saved states."""

from __future__ import annotations

import contextlib
import itertools
import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ..checks import shown
from ..errors import InputError
from ..files import atomic_folder, atomic_write, check_target, read_json
from ..schema import build, differences, plain
from .config import TrainingConfig

MARK = "state.json"


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

    def claim(self, config: TrainingConfig) -> None:
        """Write the configuration to the folder.

        Raises InputError that names the differing key if the folder holds results of another configuration.
        """
        check_target(self.path / "config.json")
        file = self.path / "config.json"
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
        with atomic_write(file) as part:
            part.write_text(json.dumps(plain(config), indent=2) + "\n", encoding="utf-8")

    def result(self, number: int, name: str) -> Path:
        """Return the file of the weights that a stage learned."""
        return self.path / "stages" / f"{number:02d}-{name}.safetensors"

    def save_result(self, number: int, name: str, weights: Mapping[str, Tensor], facts: dict) -> None:
        """Save the weights of a finished stage. facts: other results, such as the VAE's scaling factor."""
        tensors = {name: weight.detach().cpu().contiguous() for name, weight in weights.items()}
        size = sum(tensor.nbytes for tensor in tensors.values())
        with _explained(self.result(number, name)), atomic_write(self.result(number, name), size) as part:
            save_file(
                tensors, part, {"magicdance_stage": json.dumps(facts)}
            )  # one key, for equal runs give equal bytes
        self._prune(number, keep=0)

    def load_result(self, number: int, name: str) -> tuple[dict[str, Tensor], dict] | None:
        """Return weights and facts of a finished stage; None if it is not finished. Raises InputError if damaged."""
        path = self.result(number, name)
        if not path.exists():
            return None
        try:
            with safe_open(path, framework="pt") as file:
                return {key: file.get_tensor(key) for key in file.keys()}, json.loads(
                    file.metadata()["magicdance_stage"]
                )
        except (SafetensorError, OSError, KeyError, ValueError, TypeError) as error:
            raise InputError(
                f"{path} is damaged: remove it and later files, and the stage is trained again."
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
            (part / MARK).write_text(json.dumps(facts), encoding="utf-8")
        self._prune(number, keep)

    def load_state(self, number: int) -> State | None:
        """Return the last saved state of a stage, None if there is none. Raises InputError if it is damaged."""
        states = self._states(number)
        if not states:
            return None
        path = states[-1]
        try:
            facts = read_json(path / MARK, "a state")
            weights, average = (_tensors(path / f"{name}.safetensors") for name in ("weights", "average"))
            optimizers = torch.load(path / "optimizers.pt", map_location="cpu", weights_only=True)
            averages = [average[str(k)] for k in range(len(average))]
            return State(facts["step"], weights, averages, facts["average_steps"], optimizers, facts["threads"])
        except Exception as error:  # readers raise nearly anything for damaged bytes
            if isinstance(error, MemoryError):
                raise
            raise InputError(
                f"The state {path} is damaged ({str(error).split(chr(10))[0]}): remove it, and the run resumes from "
                "the state before or restarts the stage."
            ) from error

    def cut_log(self, stages: list[str], stage: str, step: int) -> None:
        """Remove records of steps that will be done again. stages: the finished ones. stage: the current one."""
        if not self.log.exists():
            return
        lines = []
        for line in self.log.read_text(encoding="utf-8").splitlines():
            try:
                record = json.loads(line)
                if record["stage"] in stages or (record["stage"] == stage and record["step"] <= step):
                    lines.append(line)
            except (ValueError, KeyError, TypeError):
                continue  # a killed process wrote half a line
        with atomic_write(self.log) as part:
            part.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")

    def write_log(self, record: dict) -> None:
        """Append a record to the log."""
        with self.log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def _states(self, number: int) -> list[Path]:
        return sorted(path for path in self.path.glob(f"states/{number:02d}-*") if (path / MARK).is_file())

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


def _tensors(path: Path) -> dict[str, Tensor]:
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}


def _bytes(value: object) -> int:
    if isinstance(value, Tensor):
        return value.nbytes
    if isinstance(value, dict):
        return sum(map(_bytes, value.values()))
    return sum(map(_bytes, value)) if isinstance(value, (list, tuple)) else 0
