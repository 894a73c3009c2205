"""Progress bar and previews of a run."""

import importlib
import time

import pytest
import torch


@pytest.fixture
def run_progress(pack, held):
    """Return a function that makes a `RunProgress` whose preview thread is not started."""
    module = importlib.import_module(f"{pack.__name__}.nodes.comfy.progress")
    return lambda frames, steps=1: module.RunProgress(held, frames, steps)


def brightness(preview) -> int:
    kind, picture, size = preview
    assert kind == "JPEG" and picture.size == (384, 384) and size is None
    return picture.getpixel((0, 0))[0]


def test_previews_loop_over_the_frames_in_order(run_progress, comfy):
    progress = run_progress(3)
    progress.show_next()  # there is no preview yet
    frames = torch.arange(3).reshape(3, 1, 1, 1).expand(3, 3, 16, 16) / 255
    progress.decoded(0, frames[:2])
    progress.show_next()
    progress.decoded(2, frames[2:])
    for _ in range(5):
        progress.show_next()
    (bar,) = comfy.bars
    assert [brightness(preview) for *_, preview in bar if preview] == [0, 1, 2, 0, 1, 2]
    assert bar[-1][:2] == (6, 6)


def test_the_oldest_previews_are_decoded_first(run_progress, comfy, held):
    progress = run_progress(4, 2)
    for step in range(2):
        progress._begun, progress._spent = time.perf_counter(), 0.0  # so there is time for one, the stalest
        progress.denoised(4 * step + 2, (2, 0), torch.zeros(2, held.unet.model.inner.config.in_channels, 4, 4))
        progress.denoised(4 * step + 4, (1, 3), None)  # a scheduler without alphas
        assert [bool(preview) for preview in progress._previews] == [step == 1, False, True, False]
    long = run_progress(200)
    long.decoded(0, torch.zeros(200, 3, 4, 4))
    assert len(long._previews) == 50 and all(long._previews)


def test_the_preview_thread_ends_with_the_run_and_passes_on_interrupts(run_progress, comfy):
    with run_progress(2) as progress:
        progress.decoded(0, torch.zeros(2, 3, 16, 16))
        comfy.interrupt_after = comfy.checks
        progress._player.join(20)
        assert not progress._player.is_alive()
        with pytest.raises(Exception) as error:
            progress.decoded(0, torch.zeros(2, 3, 16, 16))
    assert type(error.value).__name__ == "Interrupt"
    comfy.interrupt_after = None
    with run_progress(2) as progress:
        progress.decoded(0, torch.zeros(2, 3, 16, 16))
        while len(comfy.bars[-1]) < 3:
            assert progress._player.is_alive()
    assert not progress._player.is_alive() and brightness(comfy.bars[-1][-1][2]) == 0
