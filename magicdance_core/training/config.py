"""What a training run is made of: one YAML file, one dataclass tree, every wrong key reported."""

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Literal

from ..errors import InputError

NetworkName = Literal["vae", "unet", "appearance", "pose"]


@dataclass(frozen=True)
class DataConfig:
    """Puppets: `identities` people, `frames` pictures of each, square, `size` pixels wide."""

    size: int = 64
    identities: int = 1000
    frames: int = 8


@dataclass(frozen=True)
class StageConfig:
    """One stage of training.

    train: networks that learn; the others are frozen. controls: what is attached to the UNet ("appearance",
    "pose"). references x targets: people a step, and frames of each; the bank is computed once a person.
    plain: fraction of the steps that show the UNet without controls (guidance needs it to know both).
    from_unet: networks that start this stage as copies of the UNet, as the paper starts them.
    crop: side of the random crops that the autoencoder learns from; 0 for whole pictures.
    decay: final fraction of the steps over which the learning rate falls linearly to 0.
    head_weight: weight of the loss within the box of the head.
    """

    name: str
    train: list[NetworkName]
    steps: int
    controls: list[Literal["appearance", "pose"]] = field(default_factory=list)
    references: int = 4
    targets: int = 4
    plain: float = 0.0
    from_unet: list[Literal["appearance", "pose"]] = field(default_factory=list)
    crop: int = 0
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    decay: float = 0.3
    ema: float = 0.995
    head_weight: float = 1.0
    save_every: int = 200


@dataclass(frozen=True)
class TrainingConfig:
    """networks: diffusers' own configuration of `vae` and `unet`; `pose_channels` of the pose encoder.

    defaults: what the saved model proposes to its users (num_inference_steps, guidance_scale, sample_size).
    """

    networks: dict
    stages: list[StageConfig]
    data: DataConfig = field(default_factory=DataConfig)
    prediction_type: Literal["epsilon", "v_prediction"] = "epsilon"
    context: tuple[int, int] = (1, 32)
    seed: int = 0
    defaults: dict = field(default_factory=dict)


def load_config(path: str | Path) -> TrainingConfig:
    """Read a YAML training configuration; InputError says which key is wrong."""
    import yaml

    try:
        tree = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"Cannot read the configuration {path}: {error}. Give a YAML file.") from error
    if not isinstance(tree, dict):
        raise InputError(f"{path} is not a training configuration: it must hold keys such as stages and networks.")
    tree["stages"] = [_build(StageConfig, stage, f"{path}: stages") for stage in tree.get("stages") or []]
    tree["data"] = _build(DataConfig, tree.get("data") or {}, f"{path}: data")
    config = _build(TrainingConfig, tree, str(path))
    if not config.stages:
        raise InputError(f"{path} names no stage: add at least one under stages.")
    return config


def _build(kind: type, values: object, where: str):
    if not isinstance(values, dict):
        raise InputError(f"{where}: expected keys and values, found {values!r}.")
    known = {f.name for f in fields(kind)}
    if unknown := sorted(set(values) - known):
        raise InputError(f"{where}: unknown key {unknown[0]!r}; known keys are {', '.join(sorted(known))}.")
    try:
        return kind(**values)
    except TypeError as error:
        raise InputError(f"{where}: {error}.") from error
