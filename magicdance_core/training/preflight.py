"""Checks of a run that need its data set, before anything is computed or written."""

from ..data.frame_sets import FrameSet
from ..data.picking import Picker
from ..errors import InputError
from ..pose.parts import HIDEABLE
from .config import StageConfig, TrainingConfig

MAX_PASS_PICTURES = 4096  # of a forward pass
MAX_PASS_PIXELS = 2**27  # of these: 512 of 512 x 512


def check_stages(config: TrainingConfig, frames: FrameSet, processes: int) -> None:
    """Raise InputError if a stage cannot draw its samples from the data set, or takes too many of them at once."""
    for stage in config.stages:
        per_pass = people_per_pass(stage, processes)
        most = min(MAX_PASS_PICTURES, MAX_PASS_PIXELS // config.data.size**2)
        if per_pass * (stage.targets + 1) > most:
            raise InputError(
                f"stage {stage.name} takes {per_pass * (stage.targets + 1)} pictures in a forward pass, and {most} are "
                "possible: lower per_pass, which leaves the batch as it is."
            )
        picker = Picker(
            frames.videos, "train", stage.targets, stage.stride, stage.distance, config.seed, stage.vary_stride
        )
        changed = HIDEABLE if stage.mask_face or stage.mask_hand else (), config.data.flip > 0
        if any(changed):
            frames.read(picker.numbers[0], 0, *changed)  # refused now for drawn maps, not after hours


def people_per_pass(stage: StageConfig, processes: int) -> int:
    """Return the number of people in a forward pass of a process. Raises InputError if they cannot be shared evenly."""
    per_pass = stage.per_pass or stage.references // processes
    if not per_pass or stage.references % (per_pass * processes):
        raise InputError(
            f"stage {stage.name}: {stage.references} references cannot be shared by {processes} processes"
            f"{f' in passes of {stage.per_pass}' if stage.per_pass else ''}: choose a multiple."
        )
    return per_pass
