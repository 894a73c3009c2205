"""Configuration of a training run: dataclasses that are read from one YAML file."""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from ..checks import printable, quoted, shown
from ..data.data_config import DataConfig
from ..errors import InputError
from ..files import read_bytes
from ..schema import Configuration, Float, ListOf, PairOf, build, setting

NetworkName = Literal["vae", "unet", "appearance", "pose", "motion", "temporal_decoder"]
ControlName = Literal["appearance", "pose", "motion"]
Width = Annotated[int, Field(ge=1, le=65_536)]
CONFIGS = Path(__file__).parent / "configs"
MAX_CONFIG_BYTES, MAX_VALUES = 1_000_000, 100_000
# What PyYAML raises for scalars that look like numbers, dates and data: 0x_, !!float abc, 2026-99-99.
SCALAR_ERRORS = (ValueError, TypeError, OverflowError, AttributeError, KeyError, IndexError)


LORA_NETWORKS = {"attention": ("unet", "appearance"), "all": ("unet", "appearance", "pose")}
"""Networks that can learn low-rank matrices, by `StageConfig.lora_layers`."""


@dataclass(frozen=True)
class StageConfig(Configuration):
    """One stage of training.

    train: networks that learn; the others are frozen. "temporal_decoder", the motion module's layers in the VAE's
    decoder, learns in a separate stage: clips are sampled to the end (rollout_steps), decoded and compared with the
    truth in pixels. controls: networks attached to the UNet.
    references x targets: people per step, and frames of each; the bank is computed once per person. This is the batch
    of a step, whatever the number of processes. per_pass: people per forward pass of a process (0: all of its share);
    gradients are accumulated over passes.
    stride: 0 takes frames anywhere in the video; n takes clips of `targets` frames, n apart, for motion modules; with
    vary_stride they are 1 to n apart.
    noises: kinds of noise, one of which is drawn for each sample: "independent" between frames (the default), "shared"
    by them, "mixed".
    change_weight: weight of the error of the change between frames, added to the error of the frames.
    still_weight: weight of the root mean square of that error where the truth stands still.
    For a temporal decoder both weight mean absolute errors in pixels, change_weight where the truth moves.
    rollout_steps: 0 trains on the noised truth, as published; n on what the networks themselves sample from noise by
    DDIM in n steps, stopped at a random timestep, with the guidance scale rollout_guidance.
    distance: largest number of frames between reference and target; 0 for no limit.
    plain: fraction of the steps without any control, which guidance needs if the UNet learns.
    drop_reference, drop_pose: fraction of the people whose control is dropped. drop_text: fraction of those whose
    caption is replaced by the empty prompt.
    mask_face, mask_hand: fraction of the pose maps without the face's landmarks, and without each hand (paper, Table 3:
    data augmentation).
    from_unet: networks that are copies of the UNet when the stage starts, as in the paper.
    crop: side of the random crops that the autoencoder learns from; 0 for whole pictures.
    optimizer: "muon" (for matrices; AdamW for the rest), "adamw", "adamw8bit" (needs bitsandbytes).
    warmup: steps during which the learning rate rises. decay: final fraction of the steps during which it falls to 0,
    linearly or along a cosine (schedule). clip: largest norm of the gradient; 0 for no limit.
    ema: decay of the averaged weights, which are the stage's result; ema_on_cpu stores them on the CPU.
    head_weight, hand_weight: weights of the loss within the boxes of head and hands.
    timesteps: "uniform", or "stratified": one from each equal part of the schedule per step, also uniform, with less
    variance of the gradient. min_snr: gamma of min-SNR weighting (Hang et al., arXiv 2303.09556), 0 for none.
    min_timestep, max_timestep: the stage trains on timesteps from the first to below the second; for weights that only
    denoise what is partly done, such as those of a face pass.
    checkpointing: recompute activations in the backward pass to save memory. rank: rank of low-rank matrices (LoRA)
    that learn instead of weights; 0 for none. lora_layers: "attention" of UNet and appearance network, or "all" linear
    and convolutional layers, also of the pose network. They are also saved as files of LoRAs,
    final/lora-STAGE-NETWORK.safetensors.
    save_every, save_minutes: steps and minutes between saved states. validate_every, sample_every: steps between
    held-out losses and between sampled pictures; 0 for never.
    """

    name: str = setting(min_length=1, max_length=60)
    train: ListOf[NetworkName] = setting(min_length=1)
    steps: int = setting(ge=1, le=100_000_000)
    controls: ListOf[ControlName] = setting([])
    references: int = setting(4, ge=1, le=65_536)
    targets: int = setting(4, ge=1, le=1024)
    per_pass: int = setting(0, ge=0, le=65_536)
    stride: int = setting(0, ge=0, le=1000)
    vary_stride: bool = False
    noises: ListOf[Literal["independent", "shared", "mixed"]] = setting([])
    change_weight: Float = setting(0.0, ge=0, le=1000)
    still_weight: Float = setting(0.0, ge=0, le=1000)
    rollout_steps: int = setting(0, ge=0, le=999)  # the published schedule's offset takes one of 1000
    rollout_guidance: Float = setting(1.0, ge=0, le=100)
    distance: int = setting(0, ge=0, le=1_000_000)
    plain: Float = setting(0.0, ge=0, le=1)
    drop_reference: Float = setting(0.0, ge=0, le=1)
    drop_pose: Float = setting(0.0, ge=0, le=1)
    drop_text: Float = setting(0.0, ge=0, le=1)
    mask_face: Float = setting(0.0, ge=0, le=1)
    mask_hand: Float = setting(0.0, ge=0, le=1)
    from_unet: ListOf[ControlName] = setting([])
    crop: int = setting(0, ge=0, le=4096)
    optimizer: Literal["muon", "adamw", "adamw8bit"] = "muon"
    learning_rate: Float = setting(1e-3, ge=0, le=10)
    weight_decay: Float = setting(0.0, ge=0, le=10)
    warmup: int = setting(0, ge=0, le=100_000_000)
    decay: Float = setting(0.3, ge=0, le=1)
    schedule: Literal["linear", "cosine"] = "linear"
    clip: Float = setting(0.0, ge=0, le=1e6)
    ema: Float = setting(0.995, ge=0, le=0.999999)
    ema_on_cpu: bool = setting(False, free=True)
    head_weight: Float = setting(1.0, ge=0, le=1000)
    hand_weight: Float = setting(1.0, ge=0, le=1000)
    timesteps: Literal["uniform", "stratified"] = "stratified"
    min_timestep: int = setting(0, ge=0, le=999)
    max_timestep: int = setting(1000, ge=1, le=1000)
    min_snr: Float = setting(0.0, ge=0, le=1000)
    checkpointing: bool = False
    rank: int = setting(0, ge=0, le=1024)
    lora_layers: Literal["attention", "all"] = "attention"
    save_every: int = setting(200, ge=1, free=True)
    save_minutes: Float = setting(20.0, ge=0.01, le=100_000, free=True)
    validate_every: int = setting(0, ge=0, free=True)
    sample_every: int = setting(0, ge=0, free=True)

    def __post_init__(self):
        if not self.name.replace("-", "").replace("_", "").isalnum():
            raise InputError(f"name is {self.name!r}: use letters, digits, - and _ only, for files are named after it.")
        for key in ("train", "controls", "from_unet"):
            if len(set(getattr(self, key))) < len(getattr(self, key)):
                raise InputError(f"{key} names a network twice: name each network once.")
        clips = {"controls names motion": "motion" in self.controls}
        clips |= {f"{key} is set": getattr(self, key) > 0 for key in ("change_weight", "still_weight")}
        for reason, wanted in clips.items():
            if wanted and not (self.stride and self.targets > 1):
                raise InputError(f"{reason}, and samples are not clips: give a stride, and targets of 2 or more.")
        if "vae" in self.train and self.train != ["vae"]:
            raise InputError("train names the vae beside other networks: give it a separate stage.")
        if self.train == ["vae"]:
            unused = ("controls", "from_unet", "plain", "mask_face", "mask_hand", "rank", "min_snr", "stride")
            for key in (*unused, "rollout_steps"):
                if getattr(self, key):
                    raise InputError(f"{key} has no effect if the vae learns: omit it.")
            return
        if self.crop:
            raise InputError("crop has no effect unless the vae learns: use data.crop.")
        if "temporal_decoder" in self.train:
            if self.train != ["temporal_decoder"]:
                raise InputError("train names the temporal_decoder beside other networks: give it a separate stage.")
            if not self.rollout_steps or "motion" not in self.controls:
                raise InputError("train names the temporal_decoder: give rollout_steps, and motion in controls.")
        for name in self.train:
            if name not in ("unet", "temporal_decoder", *self.controls):
                raise InputError(f"train names {name}, which is not attached: add it to controls.")
        if self.rollout_steps:
            for key in ("plain", "drop_reference", "drop_pose", "min_snr"):
                if getattr(self, key):
                    raise InputError(f"{key} has no effect with rollout_steps: omit one of them.")
            if self.rollout_steps == 1:
                raise InputError("rollout_steps is 1, whose only input is noise: give 2 or more.")
        if self.plain and "unet" not in self.train:
            raise InputError("plain is set, and train does not name the unet, which alone learns then: omit plain.")
        for key in ("mask_face", "mask_hand"):
            if getattr(self, key) and "pose" not in self.controls:
                raise InputError(f"{key} is set, and the pose control is not attached: add pose to controls.")
        if self.rank and not set(LORA_NETWORKS[self.lora_layers]) & set(self.train):
            raise InputError("rank is set, and train names neither appearance nor unet: add one, or omit rank.")
        if self.min_timestep >= self.max_timestep:
            raise InputError(f"min_timestep is {self.min_timestep}: give less than max_timestep ({self.max_timestep}).")
        if self.rollout_steps and (self.min_timestep or self.max_timestep < 1000):
            raise InputError("min_timestep and max_timestep have no effect with rollout_steps: omit them.")
        if self.references % (self.per_pass or 1):
            raise InputError(f"references is {self.references}: give a multiple of per_pass ({self.per_pass}).")


@dataclass(frozen=True)
class StartConfig(Configuration):
    """Weights to start from: paths of files or folders, in which ~ is the home folder.

    model: Stable Diffusion 1.5 (checkpoint or diffusers folder), a published stage-1 or stage-2 file, or a file or
    folder of ours; "embedded" for the embedded model. appearance, pose, motion: a control from another file (a
    published one, a ControlNet, an AnimateDiff module). Controls that no file holds start as copies of the UNet, a
    motion module without effect. tokenizer: folder with vocab.json and merges.txt, for captions; by default `tokenizer`
    in the folder `model`.
    """

    model: str = setting(min_length=1)
    appearance: str | None = None
    pose: str | None = None
    motion: str | None = None
    tokenizer: str | None = None


@dataclass(frozen=True)
class NetworksConfig(Configuration):
    """Networks that start at random: configurations of diffusers, and the widths of the pose encoder.

    warm_start: file or folder of a model of ours whose weights UNet, appearance and pose copy where names and shapes
    agree; for more pixels on the same grid of latents, with another VAE.
    """

    vae: dict
    unet: dict
    pose_channels: ListOf[Width] = setting(min_length=1)
    warm_start: str | None = None


@dataclass(frozen=True)
class TrainingConfig(Configuration):
    """A training run, which starts from either random `networks` or the weights of `start`.

    prediction_type: None for that of `start` (epsilon for random networks). context: rows and width of the constant
    text context of random networks. defaults: overrides for the default settings of `start`, with the keys of
    `checkpoints.configuration.Defaults`. precision: of the computation (autocast). frozen: dtype of networks that never
    learn. threads: 0 chooses their number by the size of the networks. export: dtype of the final file. keep: number of
    saved states to keep. trackers: of Accelerate, such as tensorboard or wandb. validation: held-out people per band of
    timesteps. pictures: people in a grid of samples.
    """

    stages: ListOf[StageConfig] = setting(min_length=1)
    networks: NetworksConfig | None = None
    start: StartConfig | None = None
    data: DataConfig = field(default_factory=DataConfig)
    prediction_type: Literal["epsilon", "v_prediction"] | None = None
    context: PairOf[Width] = (1, 32)
    seed: int = setting(0, ge=0, le=2**62)
    defaults: dict = setting({})
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    frozen: Literal["float32", "bfloat16", "float16"] = "float32"
    threads: int = setting(0, ge=0, le=1024, free=True)
    export: Literal["float32", "bfloat16", "float16"] = "float32"
    keep: int = setting(1, ge=1, le=1000, free=True)
    trackers: ListOf[str] = setting([], free=True)
    validation: int = setting(16, ge=1, le=4096, free=True)
    pictures: int = setting(4, ge=1, le=64, free=True)

    def __post_init__(self):
        if self.defaults:
            from ..checkpoints.configuration import Defaults  # imported here, for it takes seconds

            build(Defaults, self.defaults, "defaults")
        if (self.networks is None) == (self.start is None):
            raise InputError(
                "give either networks, which start at random, or start, whose weights are trained further."
            )
        names = [stage.name for stage in self.stages]
        if len(set(names)) < len(names):
            raise InputError("two stages have the same name: rename one.")
        if self.frozen != "float32" and self.precision == "float32":
            raise InputError(f"frozen is {self.frozen} and precision float32: set precision to bfloat16 or float16.")
        if self.start and any("vae" in stage.train for stage in self.stages):
            raise InputError("a stage trains the vae of start, whose other networks need its latents: omit the stage.")
        if self.data.captions and (self.start is None or self.data.kind != "videos"):
            raise InputError("data.captions is true: give videos, and a start.model with a text encoder.")
        if self.data.bucket and any("vae" in stage.train for stage in self.stages):
            raise InputError("data.bucket is set and a stage trains the vae, on squares only: omit one of them.")
        for stage in self.stages:
            if stage.drop_text and not self.data.captions:
                raise InputError(f"stage {stage.name} has drop_text, and data.captions is false: omit drop_text.")
            if stage.crop > self.data.size:
                raise InputError(
                    f"stage {stage.name} has crop {stage.crop}: give at most data.size ({self.data.size})."
                )


def load_config(path: str | Path, overrides: list[str] | None = None) -> TrainingConfig:
    """Return the training configuration in a YAML file.

    path: a file, or the name of a configuration in `training/configs`. overrides: "key=value", where the key is a path
    such as data.size or stages.0.steps and the value YAML.
    Raises InputError that names the wrong key and what to write.
    """
    path = Path(path)
    included = CONFIGS / f"{path.name.removesuffix('.yaml')}.yaml"
    if not path.exists() and path.parent == Path("."):
        if not included.exists():
            names = ", ".join(sorted(file.stem for file in CONFIGS.glob("*.yaml")))
            raise InputError(f"{path} is neither a file nor one of the included configurations: {names}.")
        path = included
    try:
        tree = _parsed(read_bytes(path, MAX_CONFIG_BYTES).decode("utf-8"))
    except UnicodeDecodeError as error:
        raise InputError(f"Cannot read the configuration {path} ({error}): give a YAML file in UTF-8.") from error
    except InputError as error:
        raise InputError(f"Cannot read the configuration {path}: {error}") from error
    if not isinstance(tree, dict):
        raise InputError(f"{path} is not a training configuration: give keys such as stages and networks.")
    for text in overrides or []:
        key, equals, value = text.partition("=")
        if not equals:
            raise InputError(f"--set {shown(text)}: write KEY=VALUE, such as data.folder=my_videos.")
        try:
            parsed = _parsed(value)
        except InputError as error:
            raise InputError(f"--set {shown(text)}: {error}") from error
        _override(tree, key, parsed)
    config = build(TrainingConfig, tree, str(path))
    start, networks = config.start, config.networks
    if networks and networks.warm_start:
        networks = dataclasses.replace(networks, warm_start=_absolute_path(networks.warm_start))
    return dataclasses.replace(config, start=start and _with_absolute_paths(start), networks=networks)


def _parsed(text: str) -> Any:
    """Return the value of a YAML text. Raises InputError if it is none, or unfolds to too much."""
    import yaml

    try:
        value = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, *SCALAR_ERRORS) as error:
        reason = printable(" ".join(str(error).split()))[:300] or type(error).__name__
        raise InputError(f"it is not YAML ({reason}): give keys and values.") from error
    left, waiting = MAX_VALUES, [value]
    while waiting:
        value_or_list = waiting.pop()
        left -= 1
        if left < 0:
            raise InputError(f"it has more than {MAX_VALUES:,} values: give a shorter one.")
        if isinstance(value_or_list, dict):
            waiting += [*value_or_list.keys(), *value_or_list.values()]
        elif isinstance(value_or_list, (list, tuple, set)):
            waiting += value_or_list
        elif type(value_or_list) is int and value_or_list.bit_length() > 64:
            raise InputError(f"it has a number of {value_or_list.bit_length()} bits: give a smaller one.")
        elif value_or_list is not None and type(value_or_list) not in (str, int, float, bool):
            raise InputError(f"{quoted(value_or_list)} is of no kind that a configuration has: write a text.")
    return value


def _override(tree: dict, key: str, value: object) -> None:
    *parents, last = key.split(".")
    node: Any = tree
    try:
        for name in parents:
            node = node.setdefault(name, {}) if isinstance(node, dict) else node[int(name)]
        node[last if isinstance(node, dict) else int(last)] = value
    except (ValueError, IndexError, TypeError, KeyError):
        raise InputError(f"--set {key}: there is no such key; write it as data.size or stages.0.steps.") from None


def _with_absolute_paths(start: StartConfig) -> StartConfig:
    given = {field.name: getattr(start, field.name) for field in dataclasses.fields(start)}
    return StartConfig(**{name: path and _absolute_path(path) for name, path in given.items()})


def _absolute_path(path: str) -> str:
    """Return a path that stays the same if the run is resumed from another folder."""
    return path if path == "embedded" else str(Path(path).expanduser().absolute())
