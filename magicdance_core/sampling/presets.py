"""Named ways to run: as published, or faster at a price that `evaluate --embedded --price` measures."""

from dataclasses import dataclass

from ..choices import DEFAULT
from .settings import NO_SHORTCUTS, Shortcuts


@dataclass(frozen=True)
class Preset:
    """steps: as a part of the model's own number. scheduler: a name in `choices.SCHEDULERS`. shortcuts: see there."""

    steps: float = 1.0
    scheduler: str = DEFAULT
    shortcuts: Shortcuts = NO_SHORTCUTS

    def count(self, own: int) -> int:
        """Steps for a model whose own number is `own`."""
        return max(1, round(self.steps * own))


PRESETS = {
    "exact": Preset(),
    "fast": Preset(0.5, "dpmpp_2m", Shortcuts(guidance=(0.5, 1.0))),
    "preview": Preset(0.2, "dpmpp_2m", Shortcuts(guidance=(0.0, 0.5), pose_every=2)),
}
"""Those in `choices.PRESETS`, chosen from the table that the command writes."""
