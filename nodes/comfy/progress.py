"""The progress bar, previews, remarks, and ComfyUI's interrupt."""

from __future__ import annotations

import contextvars
import logging
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

PREVIEW_SIDE, LARGEST_PREVIEW = 384, 512  # nodes are less wide than the first; the second is ComfyUI's own
MAX_PREVIEWS, FPS = 64, 8  # frames that are kept to be shown, and shown a second
PREVIEW_SHARE = 0.1  # of the run's time that may go into decoding what is shown

BLOCKS = re.compile(r"(.*\.)?(resnets|attentions|motion_modules|downsamplers|upsamplers)\.\d+")
"""What diffusers' networks are made of, large enough that asking before each costs nothing."""


class RunProgress:
    """The progress bar of a run, and how its frames look so far, played as a video; used as a context.

    ComfyUI shows one still picture at a time, so a thread shows the frames one after the other, FPS a second. Of long
    videos it shows every second, third, ... frame; frames are decoded anew, the stalest first, as time allows.
    Every report may raise ComfyUI's interrupt.

    frames, steps: of the run, which ends with the decoding of all frames.
    """

    def __init__(self, model: MagicDanceModel, frames: int, steps: int):
        import comfy.utils

        self._bar = comfy.utils.ProgressBar(frames * (steps + 1))
        self._preview, self._denoising = _previewer(model), frames * steps
        self._every = ceil(frames / MAX_PREVIEWS)
        self._previews: list[tuple | None] = [None] * ceil(frames / self._every)
        self._fresh = [0] * len(self._previews)  # the report that decoded each
        self._shown, self._done, self._reports = -1, 0, 0
        self._begun, self._spent = time.perf_counter(), 0.0
        self._lock, self._over = threading.Lock(), threading.Event()
        context = contextvars.copy_context()  # tells ComfyUI which node reports
        self._player = threading.Thread(target=context.run, args=(self._play,), daemon=True)

    def __enter__(self) -> RunProgress:
        self._player.start()
        return self

    def __exit__(self, *error) -> None:
        self._over.set()
        self._player.join()

    def denoised(self, fraction: float, numbers: Sequence[int], latents: Tensor | None) -> None:
        """fraction: of the denoising that is done. latents: clean scaled latents `[n, 4, h, w]` of these frames, or
        None."""
        self._reports += 1
        rows = {row: n // self._every for row, n in enumerate(numbers) if latents is not None and n % self._every == 0}
        for row in sorted(rows, key=lambda row: self._fresh[rows[row]]):
            before = time.perf_counter()
            if self._spent > PREVIEW_SHARE * (before - self._begun):
                break
            self._previews[rows[row]] = self._preview(latents[row : row + 1])
            self._fresh[rows[row]] = self._reports
            self._spent += time.perf_counter() - before
        self._report(round(fraction * self._denoising))

    def decoded(self, done: int, frames: Tensor) -> None:
        """done: frames decoded before these, `[n, 3, H, W]` in [0, 1]."""
        for number, frame in enumerate(frames, done):
            if number % self._every == 0:
                self._previews[number // self._every] = _as_preview(frame)
        self._report(self._denoising + done + len(frames))

    def show_next(self) -> None:
        """Show the frame after the one that was shown, of those that have been previewed."""
        following = [*range(self._shown + 1, len(self._previews)), *range(self._shown + 1)]
        self._shown = next((place for place in following if self._previews[place]), -1)
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
                mm.interrupt_current_processing()  # it was meant for the run, and raising took it back
                return


class Remarks:
    """Sentences about a run that is no error: in the log, and on the node, where they stay until the next run."""

    def __init__(self):
        self._shown = False

    def show(self, sentences: Sequence[str]) -> None:
        from comfy_execution.utils import get_executing_context

        for sentence in sentences:
            logging.warning("MagicDance: %s", sentence)
        context = get_executing_context()
        if context is not None and (sentences or self._shown):
            from server import PromptServer

            PromptServer.instance.send_progress_text("\n".join(sentences), context.node_id)
        self._shown = bool(sentences)


def counted(items: Iterable, total: int | None = None) -> Iterator:
    """The items one by one, each moving the progress bar. total: about how many, where they have no length."""
    import comfy.utils

    bar = comfy.utils.ProgressBar(total or len(items))  # type: ignore[arg-type]
    for item in items:
        yield item
        bar.update(1)


@contextmanager
def interruptible(*networks: nn.Module | None) -> Iterator[None]:
    """Within this, ComfyUI's interrupt takes effect before the next block of layers, not only after a batch."""
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
    """A function from latents `[1, 4, h, w]` to what the progress bar takes.

    Latents of Stable Diffusion go through ComfyUI's previewer, as its settings say; those of a small model are its
    own affair, and its VAE is quick.
    """
    vae = memory.network(model.vae)
    device, dtype = memory.place(model.vae)
    if vae.config.block_out_channels[-1] >= 512:
        import comfy.latent_formats
        import latent_preview

        previewer = latent_preview.get_previewer(device, comfy.latent_formats.SD15())
        return lambda latents: previewer and previewer.decode_latent_to_preview_image("JPEG", latents)

    from ...magicdance_core.sampling import decode_frames

    return lambda latents: _as_preview(next(decode_frames(vae, latents, 1, device, dtype))[0])


def _as_preview(frame: Tensor) -> tuple:
    """What the progress bar takes. A small frame is enlarged by a whole factor, so that its pixels stay what they are
    and the editor, which only shrinks pictures, leaves no space beside it; a large one is shrunk."""
    from PIL import Image

    picture = Image.fromarray((frame.permute(1, 2, 0) * 255).round().byte().cpu().numpy())
    if max(picture.size) > PREVIEW_SIDE:
        picture.thumbnail((LARGEST_PREVIEW, LARGEST_PREVIEW))
        return "JPEG", picture, None
    factor = ceil(PREVIEW_SIDE / max(picture.size))
    return "JPEG", picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST), None


def _blocks(network: nn.Module) -> list[nn.Module]:
    """What a network is made of: its blocks, or the convolutions of one that is no diffusers network."""
    from torch import nn

    blocks = [module for name, module in network.named_modules() if BLOCKS.fullmatch(name)]
    return blocks or [module for module in network.modules() if isinstance(module, nn.Conv2d)]
