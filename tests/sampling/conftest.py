"""What tests of sampling share."""

import pytest
import torch
from calls import denoise

from magicdance_core.models import Networks


@pytest.fixture
def controlled(tiny):
    """Makes a function that calls `denoise` with all controls on fixed inputs; keyword arguments replace them."""

    def draw(*shape, seed=1):
        return torch.randn(shape, generator=torch.Generator().manual_seed(seed))

    def make(frames, steps, width=4, **more):
        inputs = {
            "networks": Networks(tiny.unet, tiny.appearance, tiny.pose),
            "scheduler": tiny.scheduler,
            "noise": draw(1, 4, 4, width),
            "context": tiny.context,
            "num_inference_steps": steps,
            "guidance_scale": 3.0,
            "reference": draw(1, 4, 4, 4, seed=2),
            "hints": tiny.pose.encode_pose(torch.rand(frames, 3, 16, 4 * width)).detach(),
        } | more

        def call(**changes):
            return denoise(**inputs | changes)

        call.inputs = inputs
        return call

    return make
