"""Progress bar, animated previews, and ComfyUI's interrupt."""

from __future__ import annotations

import contextvars
import re
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from math import ceil
from typing import TYPE_CHECKING

from . import memory

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ..model import MagicDanceModel

PREVIEW_SIDE = 384  # pixels; wider than nodes usually are
MAX_PREVIEW_SIDE = 512  # ComfyUI's own limit
MAX_PREVIEWS = 64  # frames kept for the preview
FPS = 8  # of the preview
LONG_RUN = 180  # seconds from which a forecast is told
PREVIEW_SHARE = 0.1  # largest part of the run's time that is spent on decoding previews

BLOCKS = re.compile(r"(.*\.)?(resnets|attentions|motion_modules|downsamplers|upsamplers)\.\d+")
"""Blocks of diffusers' networks; they are so large that checking for an interrupt before each costs nothing."""


class RunProgress:
    """Progress bar of a run with an animated preview of its frames; a context manager.

    ComfyUI shows one still picture at a time, so a thread shows the frames one after the other, `FPS` per second. Of
    long videos it shows every n-th frame. Previews are decoded again as time allows, the oldest first.
    Every method may raise ComfyUI's interrupt.

    frames, steps: numbers of frames and steps of the run; decoding counts as one step more. streamed: frames are
    decoded while others are denoised, which then counts alone.
    """

    def __init__(self, model: MagicDanceModel, frames: int, steps: int, streamed: bool = False):
        import comfy.utils

        self._bar = comfy.utils.ProgressBar(frames * (steps + 1))
        self._preview, self._streamed = _previewer(model), streamed
        self._denoising = frames * (steps + streamed)
        self._every = ceil(frames / MAX_PREVIEWS)
        self._previews: list[tuple | None] = [None] * ceil(frames / self._every)
        self._updated = [0] * len(self._previews)  # number of the report at which each preview was decoded
        self._shown, self._done, self._reports = -1, 0, 0
        self._begun, self._spent = time.perf_counter(), 0.0
        self._lock, self._over = threading.Lock(), threading.Event()
        context = contextvars.copy_context()  # ComfyUI reads the reporting node from it
        self._player = threading.Thread(target=context.run, args=(self._play,), daemon=True)

    def __enter__(self) -> RunProgress:
        self._player.start()
        return self

    def __exit__(self, *error) -> None:
        self._over.set()
        self._player.join()

    def denoised(self, fraction: float, numbers: Sequence[int], latents: Tensor | None) -> None:
        """Report progress of the denoising.

        fraction: part of all denoising that is done. numbers: of the frames that made progress.
        latents: their predicted clean latents `[n, 4, h, w]`, scaled as the UNet sees them, or None.
        """
        self._reports += 1
        if latents is not None:
            self._decode_previews(numbers, latents)
        self._report(round(fraction * self._denoising))

    def _decode_previews(self, numbers: Sequence[int], latents: Tensor) -> None:
        rows = {row: n // self._every for row, n in enumerate(numbers) if n % self._every == 0}
        for row in sorted(rows, key=lambda row: self._updated[rows[row]]):
            before = time.perf_counter()
            if self._spent > PREVIEW_SHARE * (before - self._begun):
                break
            self._previews[rows[row]] = self._preview(latents[row : row + 1])
            self._updated[rows[row]] = self._reports
            self._spent += time.perf_counter() - before

    def decoded(self, done: int, frames: Tensor) -> None:
        """Report decoded frames `[n, 3, H, W]` in [0, 1]. done: number of frames decoded before."""
        for number, frame in enumerate(frames, done):
            if number % self._every == 0:
                self._previews[number // self._every] = _as_preview(frame)
        self._report(None if self._streamed else self._denoising + done + len(frames))

    def show_next(self) -> None:
        """Show the next frame that has a preview, after the last one the first."""
        following = [*range(self._shown + 1, len(self._previews)), *range(self._shown + 1)]
        self._shown = next((index for index in following if self._previews[index]), -1)
        if self._shown >= 0:
            self._report(None, self._previews[self._shown])

    def _report(self, done: int | None, preview: tuple | None = None) -> None:
        with self._lock:
            self._done = self._done if done is None else done
            self._bar.update_absolute(self._done, preview=preview)

    def _play(self) -> None:
        import comfy.model_management as mm

        while not self._over.wait(1 / FPS):
            try:
                self.show_next()
            except mm.InterruptProcessingException:
                mm.interrupt_current_processing()  # raising has cleared the flag, but the run has to see it
                return


class Forecast:
    """Forecast of the time that a run takes, made once: by the second batch, as the first one warms up.

    frames: number of frames of the run. size: their width and height.
    """

    def __init__(self, frames: int, size: tuple[int, int]):
        self._frames, self._size = frames, size
        self._first: tuple[float, float] | None = None
        self._told = False

    def after(self, fraction: float) -> str | None:
        """Return a sentence if the run takes longer than `LONG_RUN`. fraction: part of the denoising that is done."""
        now = time.perf_counter()
        if self._first is None:
            self._first = now, fraction
        if self._told or fraction <= self._first[1]:
            return None
        self._told = True
        seconds = (now - self._first[0]) / (fraction - self._first[1])
        if seconds < LONG_RUN:
            return None
        width, height = self._size
        return (
            f"This run takes about {_duration(seconds)}: {self._frames} frames of {width} x {height} pixels, "
            f"{seconds / self._frames:.1f} s each. The preset `fast` and smaller pose maps take less."
        )


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes / 60:.1f} h"


def counted(items: Iterable, total: int | None = None) -> Iterator:
    """Yield the items and advance the progress bar. total: their approximate number, if they have no length."""
    import comfy.utils

    bar = comfy.utils.ProgressBar(total or len(items))  # type: ignore[arg-type]
    for item in items:
        yield item
        bar.update(1)


@contextmanager
def interruptible(*networks: nn.Module | None) -> Iterator[None]:
    """Check for ComfyUI's interrupt before every block of these networks while the context is open."""
    import comfy.model_management as mm

    def check(module: nn.Module, args: tuple) -> None:
        mm.throw_exception_if_processing_interrupted()

    hooks = [
        module.register_forward_pre_hook(check)
        for network in networks
        if network is not None
        for module in _blocks(network)
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _previewer(model: MagicDanceModel):
    """Return a function from latents `[1, 4, h, w]` to a preview for the progress bar.

    Latents of Stable Diffusion go through the previewer of ComfyUI's settings; those of a small model through its VAE,
    which is fast and whose latents that previewer does not know.
    """
    vae = memory.network(model.vae)
    device, dtype = memory.device_and_dtype(model.vae)
    if vae.config.block_out_channels[-1] >= 512:
        import comfy.latent_formats
        import latent_preview

        previewer = latent_preview.get_previewer(device, comfy.latent_formats.SD15())
        return lambda latents: previewer and previewer.decode_latent_to_preview_image("JPEG", latents)

    from ...magicdance_core.sampling import decode_frames

    return lambda latents: _as_preview(next(decode_frames(vae, latents, 1, device, dtype))[0])


def _as_preview(frame: Tensor) -> tuple:
    """Return a frame `[3, H, W]` in [0, 1] as the progress bar takes it.

    A small frame is enlarged by a whole factor, since the graph editor only shrinks pictures; a large one is shrunk.
    """
    from PIL import Image

    picture = Image.fromarray((frame.permute(1, 2, 0) * 255).round().byte().cpu().numpy())
    if max(picture.size) > PREVIEW_SIDE:
        picture.thumbnail((MAX_PREVIEW_SIDE, MAX_PREVIEW_SIDE))
        return "JPEG", picture, None
    factor = ceil(PREVIEW_SIDE / max(picture.size))
    return "JPEG", picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST), None


def _blocks(network: nn.Module) -> list[nn.Module]:
    """Return the blocks of a diffusers network, or the convolutions of any other."""
    from torch import nn

    blocks = [module for name, module in network.named_modules() if BLOCKS.fullmatch(name)]
    return blocks or [module for module in network.modules() if isinstance(module, nn.Conv2d)]
