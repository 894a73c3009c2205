"""What a training run is made of: one YAML file, one dataclass tree, every wrong key reported."""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from ..data.data_config import DataConfig
from ..errors import InputError
from ..files import existing_file
from ..schema import Configuration, Float, ListOf, PairOf, build, setting

NetworkName = Literal["vae", "unet", "appearance", "pose", "motion", "temporal_decoder"]
ControlName = Literal["appearance", "pose", "motion"]
Width = Annotated[int, Field(ge=1, le=65_536)]
CONFIGS = Path(__file__).parent / "configs"


@dataclass(frozen=True)
class StageConfig(Configuration):
    """One stage of training.

    train: networks that learn; the others are frozen. controls: what is attached to the UNet. "temporal_decoder", the
    motion module's layers in the VAE's decoder, learns in a stage of its own: clips sampled to their end
    (rollout_steps), decoded and compared with the truth in pixels.
    references x targets: people a step, and frames of each; the bank is computed once a person. This is the batch of
    a step whatever the number of processes; per_pass: people a process takes through the networks at once (0: all
    of its share), gradients are accumulated over passes.
    stride: 0 takes frames anywhere in the video; n takes `targets` frames n apart in a row, for motion modules; with
    vary_stride they are 1 to n apart.
    noises: of the frames of a sample, one drawn for each: "independent" (the default), "shared", "mixed".
    change_weight: weight of the error of the change from frame to frame, beside the error of the frames.
    still_weight: weight of that error once more (root mean square), where the frames of the truth stand still.
    Of a temporal decoder both are of mean absolute errors in pixels, change_weight of those that change.
    rollout_steps: 0 shows noised truth, as published; n shows what the networks' own sampling by DDIM in n steps has
    made of noise when it comes to one of its timesteps, with rollout_guidance as guidance scale.
    distance: most frames between reference and target; 0 for any.
    plain: fraction of the steps that show the UNet without controls (guidance needs it to know both).
    drop_reference, drop_pose: fraction of the people shown without the control. drop_text: fraction of those with a
    caption that are told the empty prompt.
    from_unet: networks that start this stage as copies of the UNet, as the paper starts them.
    crop: side of the random crops that the autoencoder learns from; 0 for whole pictures.
    optimizer: "muon" (matrices; AdamW for the rest), "adamw", "adamw8bit" (needs bitsandbytes).
    warmup: steps over which the learning rate rises; decay: final fraction of the steps over which it falls to 0,
    along a straight line or a cosine (schedule). clip: largest norm of the gradient; 0 for any.
    ema: decay of the averaged weights, which are the stage's result; ema_on_cpu keeps them off the device.
    head_weight, hand_weight: weight of the loss within the boxes of head and hands.
    timesteps: "uniform", or "stratified": one from each equal part of the schedule a step, uniform likewise, with
    less noise in the gradient. min_snr: 0, or the gamma of min-SNR weighting (Hang et al., arXiv 2303.09556).
    checkpointing: recompute activations in the backward pass, for memory. rank: 0, or the rank of low-rank changes
    of the appearance network's attention, which then learn instead of its weights.
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
    rollout_steps: int = setting(0, ge=0, le=1000)
    rollout_guidance: Float = setting(1.0, ge=0, le=100)
    distance: int = setting(0, ge=0, le=1_000_000)
    plain: Float = setting(0.0, ge=0, le=1)
    drop_reference: Float = setting(0.0, ge=0, le=1)
    drop_pose: Float = setting(0.0, ge=0, le=1)
    drop_text: Float = setting(0.0, ge=0, le=1)
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
    min_snr: Float = setting(0.0, ge=0, le=1000)
    checkpointing: bool = False
    rank: int = setting(0, ge=0, le=1024)
    save_every: int = setting(200, ge=1, free=True)
    save_minutes: Float = setting(20.0, ge=0.01, le=100_000, free=True)
    validate_every: int = setting(0, ge=0, free=True)
    sample_every: int = setting(0, ge=0, free=True)

    def __post_init__(self):
        if not self.name.replace("-", "").replace("_", "").isalnum():
            raise InputError(f"name is {self.name!r}: use letters, digits, - and _, for files are named after it.")
        for key in ("train", "controls", "from_unet"):
            if len(set(getattr(self, key))) < len(getattr(self, key)):
                raise InputError(f"{key} names a network twice: name each once.")
        clips = {"controls names motion": "motion" in self.controls}
        clips |= {f"{key} is for clips": getattr(self, key) > 0 for key in ("change_weight", "still_weight")}
        for reason, wanted in clips.items():
            if wanted and not (self.stride and self.targets > 1):
                raise InputError(f"{reason}, and a sample is no clip: give a stride, and targets of 2 or more.")
        if "vae" in self.train and self.train != ["vae"]:
            raise InputError("train names the vae beside other networks: it learns in a stage of its own.")
        if self.train == ["vae"]:
            for key in ("controls", "from_unet", "plain", "rank", "min_snr", "stride", "rollout_steps"):
                if getattr(self, key):
                    raise InputError(f"{key} has no meaning where the vae learns: leave it out.")
            return
        if self.crop:
            raise InputError("crop has no meaning where no vae learns: see data.crop.")
        if "temporal_decoder" in self.train:
            if self.train != ["temporal_decoder"]:
                raise InputError("train names the temporal_decoder beside other networks: it learns in its own stage.")
            if not self.rollout_steps or "motion" not in self.controls:
                raise InputError("a temporal_decoder learns from sampling: give rollout_steps, and motion in controls.")
        for name in self.train:
            if name not in ("unet", "temporal_decoder", *self.controls):
                raise InputError(f"train names {name}, which controls does not attach: it would learn nothing.")
        if self.rollout_steps:
            for key in ("plain", "drop_reference", "drop_pose", "min_snr"):
                if getattr(self, key):
                    raise InputError(f"{key} has no meaning in sampling: leave it out, or rollout_steps.")
            if self.rollout_steps == 1:
                raise InputError("rollout_steps is 1, which is nothing but noise: give 2 or more.")
        if self.plain and "unet" not in self.train:
            raise InputError("plain shows the UNet alone, and train does not name it: there is nothing to learn then.")
        if self.rank and "appearance" not in self.train:
            raise InputError("rank is for the appearance network, and train does not name it.")
        if self.references % (self.per_pass or 1):
            raise InputError(f"references is {self.references}: give a multiple of per_pass ({self.per_pass}).")


@dataclass(frozen=True)
class StartConfig(Configuration):
    """Weights to start from; paths of files or folders, a path that begins with ~ in the home.

    model: Stable Diffusion 1.5 (checkpoint or diffusers folder), a published stage-1 or stage-2 file, or our own file
    or folder; "embedded" for the one that comes along. appearance, pose, motion: one control from elsewhere (a
    published file, a ControlNet, a module of AnimateDiff). A control that is nowhere starts from the UNet, a motion
    module so that it changes nothing. tokenizer: a folder with vocab.json and merges.txt, for captions; by default
    `tokenizer` in the folder `model`.
    """

    model: str = setting(min_length=1)
    appearance: str | None = None
    pose: str | None = None
    motion: str | None = None
    tokenizer: str | None = None


@dataclass(frozen=True)
class NetworksConfig(Configuration):
    """Networks that start at random: diffusers' own configurations, and the widths of the pose encoder.

    warm_start: a file or folder of a model of ours that lends UNet, appearance and pose its weights, wherever name and
    shape agree: for more pixels on the same grid of latents, with another VAE.
    """

    vae: dict
    unet: dict
    pose_channels: ListOf[Width] = setting(min_length=1)
    warm_start: str | None = None


@dataclass(frozen=True)
class DefaultsConfig(Configuration):
    """What the saved model proposes to its users; sample_size in pixels."""

    num_inference_steps: int = setting(20, ge=1, le=1000)
    guidance_scale: Float = setting(1.5, ge=0, le=100)
    sample_size: int = setting(64, ge=8, le=4096)


@dataclass(frozen=True)
class TrainingConfig(Configuration):
    """A run. Either `networks`, which start at random, or `start`, whose weights are trained on.

    prediction_type: None for the start's own (epsilon where there is none). context: rows and width of the constant
    text context of random networks. defaults: some of `DefaultsConfig`, for the others the start's own are taken.
    precision: of the computation (autocast); frozen: dtype of networks that never learn. threads: 0 chooses them by
    the size of the networks. export: dtype of the final file. keep: states to keep. trackers: of Accelerate, such as
    tensorboard or wandb. validation: held-out groups in the loss by timestep band. pictures: people in a sampled grid.
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
        build(DefaultsConfig, self.defaults, "defaults")
        if (self.networks is None) == (self.start is None):
            raise InputError("give either networks, which start at random, or start, whose weights are trained on.")
        names = [stage.name for stage in self.stages]
        if len(set(names)) < len(names):
            raise InputError("two stages have one name: give each its own.")
        if self.frozen != "float32" and self.precision == "float32":
            raise InputError(f"frozen is {self.frozen}: then precision has to be bfloat16 or float16, too.")
        if self.start and any("vae" in stage.train for stage in self.stages):
            raise InputError("a stage trains the vae of a model that is given: its latents' scale would change.")
        if self.data.captions and (self.start is None or self.data.kind != "videos"):
            raise InputError("data.captions needs videos, and a start.model with a text tower that reads them.")
        for stage in self.stages:
            if stage.drop_text and not self.data.captions:
                raise InputError(f"stage {stage.name} has drop_text, and data.captions is false: there is no text.")
            if stage.crop > self.data.size:
                raise InputError(f"stage {stage.name} crops {stage.crop} pixels of pictures with {self.data.size}.")


def load_config(path: str | Path, overrides: list[str] | None = None) -> TrainingConfig:
    """Read a YAML training configuration.

    path: a file, or the name of one of the configurations that come along. overrides: "key=value", the key a path such
    as data.size or stages.0.steps, the value YAML.
    Raises InputError that says which key is wrong, and how.
    """
    import yaml

    path = Path(path)
    own = CONFIGS / f"{path.name.removesuffix('.yaml')}.yaml"
    if not path.exists() and path.parent == Path("."):
        if not own.exists():
            names = ", ".join(sorted(file.stem for file in CONFIGS.glob("*.yaml")))
            raise InputError(f"There is no file {path}, nor does a configuration of this name come along: {names}.")
        path = own
    try:
        tree = yaml.safe_load(existing_file(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"Cannot read the configuration {path}: {reason}. Give a YAML file.") from error
    if not isinstance(tree, dict):
        raise InputError(f"{path} is not a training configuration: it must hold keys such as stages and networks.")
    for text in overrides or []:
        key, equals, value = text.partition("=")
        try:
            if not equals:
                raise InputError(f"--set {text}: write KEY=VALUE, such as data.folder=my_videos.")
            _override(tree, key, yaml.safe_load(value))
        except (yaml.YAMLError, RecursionError) as error:
            raise InputError(f"--set {text}: the value is no YAML ({' '.join(str(error).split())}).") from error
    config = build(TrainingConfig, tree, str(path))
    start, networks = config.start, config.networks
    if networks and networks.warm_start:
        networks = dataclasses.replace(networks, warm_start=_there(networks.warm_start))
    return dataclasses.replace(config, start=start and _absolute(start), networks=networks)


def _override(tree: dict, key: str, value: object) -> None:
    *folders, last = key.split(".")
    place = tree
    try:
        for name in folders:
            if isinstance(place, dict):
                place = place.setdefault(name, {})
            else:
                place = place[int(name)]
        if isinstance(place, dict):
            place[last] = value
        else:
            place[int(last)] = value
    except (ValueError, IndexError, TypeError, KeyError):
        raise InputError(f"--set {key}: there is no such key; write it as data.size or stages.0.steps.") from None


def _absolute(start: StartConfig) -> StartConfig:
    given = {field.name: getattr(start, field.name) for field in dataclasses.fields(start)}
    return StartConfig(**{name: path and _there(path) for name, path in given.items()})


def _there(path: str) -> str:
    """A path means the same however often the run is continued, and from where."""
    return path if path == "embedded" else str(Path(path).expanduser().absolute())
