"""Training whose steps pause and fill memory, for tests of how both are measured."""

import json
import time

import numpy as np

from benchmarks.savings import measure
from magicdance_core.training.engine import TrainingStep

PAUSE = 0.2  # seconds


def measure_with_ballast(config, folder, ballast):
    """Measure steps that pause and hold `ballast` bytes; write what was found, and when each pass ended."""
    forward, ends = TrainingStep.forward, []

    def heavy_forward(self, batch):
        held = np.ones(ballast, np.uint8)
        time.sleep(PAUSE)
        losses = forward(self, batch) + 0 * held[0]
        ends.append(time.monotonic())
        return losses

    TrainingStep.forward = heavy_forward
    found = measure(config, folder)
    (folder / f"{ballast}.json").write_text(json.dumps(found | {"ends": ends}))
