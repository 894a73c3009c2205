"""What is no pose map, or far from the model's size, is refused or told before sampling."""

from dataclasses import replace

import pytest
import torch

SAMPLE = (3, 2, 2.0, "default", "controlnet_important", "exact", 2, 2)  # the sampler's widgets


def photographs(frames: int = 3) -> torch.Tensor:
    smooth = torch.rand(frames, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    return torch.nn.functional.interpolate(smooth, (64, 64), mode="bicubic").clamp(0, 1).movedim(1, -1)


@pytest.mark.parametrize(
    "change, sentence",
    [
        (lambda poses: photographs(), "Put Extract Pose and Draw Poses before `poses`"),
        (lambda poses: 1 - poses, "Put Invert Image before `poses`"),
        (lambda poses: 0 * poses, "`poses` shows nobody: all 3 pose maps are black"),
    ],
    ids=["photographs", "inverted", "black"],
)
def test_pictures_that_are_no_pose_maps_are_refused(node, held, comfy, change, sentence):
    reference, poses, _, truth, _ = node("Puppets").draw(1, 2, 3, 4, 64, 64)
    loads = len(comfy.loads)
    with pytest.raises(ValueError, match=sentence):
        node("Sample").sample(held, change(poses), *SAMPLE, reference)
    with pytest.raises(ValueError, match=sentence):
        node("EmptyFrames").make(change(poses), True)
    assert len(comfy.loads) == loads  # before any network is needed


def test_puppets_in_the_place_of_their_pose_maps_are_refused(node, held):
    reference, _, _, truth, _ = node("Puppets").draw(1, 2, 3, 4, 128, 128)
    with pytest.raises(ValueError, match="no pose maps"):
        node("Sample").sample(held, truth, *SAMPLE, reference)


@pytest.mark.parametrize("size", [64, 128, 512])
def test_pose_maps_with_single_black_frames_pass(node, size):
    for identity in range(3):
        poses = node("Puppets").draw(identity, identity, 4, identity, size, size)[1]
        poses[0] = 0
        assert len(node("EmptyFrames").make(poses, True)[0]["samples"]) == 4


def test_a_size_far_from_the_models_is_told_before_sampling(node, held, comfy, pose_maps):
    reference = torch.rand(1, 32, 32, 3)

    def said(side: int, width: int) -> list[str]:
        comfy.events.clear()
        model = replace(held, defaults=held.defaults | {"sample_size": side})
        node("Sample").sample(model, pose_maps(1, 32, width), *SAMPLE, reference)
        assert all(name == "magicdance.remarks" and data["type"] == "MagicDanceSample" for name, data in comfy.events)
        return [sentence for _, data in comfy.events for sentence in data["sentences"]]

    assert said(32, 32) == said(32, 64) == said(40, 32) == []
    (far,) = said(16, 32)
    assert far.startswith("Draw the poses with about 16 x 16 pixels: they have 32 x 32") and far.endswith("and slow.")
    assert said(128, 32)[0].endswith("will be distorted.")


def test_a_long_run_tells_its_time_after_the_second_batch(pack, monkeypatch):
    import importlib

    progress = importlib.import_module(f"{pack.__name__}.nodes.comfy.progress")
    now = iter([50.0, 59.4, 70.0])  # the first batch warms up
    monkeypatch.setattr(progress.time, "perf_counter", lambda: next(now))
    forecast = progress.Forecast(300, (544, 960))
    assert forecast.after(0.01) is None
    sentence = forecast.after(0.0133)
    assert sentence == (
        "This run takes about 47 min: 300 frames of 544 x 960 pixels, 9.5 s each. "
        "The preset `fast` and smaller pose maps take less."
    )
    assert forecast.after(0.5) is None  # once


def test_a_short_run_tells_nothing(pack, monkeypatch):
    import importlib

    progress = importlib.import_module(f"{pack.__name__}.nodes.comfy.progress")
    now = iter([0.0, 1.0, 2.0])
    monkeypatch.setattr(progress.time, "perf_counter", lambda: next(now))
    forecast = progress.Forecast(16, (128, 128))
    assert [forecast.after(fraction) for fraction in (0.1, 0.2, 0.3)] == [None] * 3
