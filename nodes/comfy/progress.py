"""The progress bar, previews, remarks, and ComfyUI's interrupt."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from math import ceil
from typing import TYPE_CHECKING

from . import memory

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ..model import MagicDanceModel

PREVIEW_SIDE, LARGEST_PREVIEW = 384, 512  # nodes are less wide than the first; the second is ComfyUI's own


class RunProgress:
    """The progress bar of a run with previews of frames; every report may raise ComfyUI's interrupt.

    ComfyUI shows one still picture at a time, so the frames come one after the other: while denoising the next one of
    each batch, while decoding all of them in order.

    total: of the whole run, in frames computed.
    """

    def __init__(self, model: MagicDanceModel, total: int):
        import comfy.utils

        self._bar = comfy.utils.ProgressBar(total)
        self._preview = _previewer(model)
        self._reports = 0

    def denoised(self, frames_done: int, latents: Tensor | None) -> None:
        """frames_done: of the total. latents: clean scaled latents `[n, 4, h, w]` to show, if there are any."""
        preview = None
        if latents is not None:
            shown = self._reports % len(latents)
            preview = self._preview(latents[shown : shown + 1])
        self._reports += 1
        self._bar.update_absolute(frames_done, preview=preview)

    def decoded(self, frames_done: int, frames: Tensor) -> None:
        """frames_done: of the total, with these. frames: `[n, 3, H, W]` in [0, 1]."""
        for number, frame in enumerate(frames, frames_done - len(frames) + 1):
            self._bar.update_absolute(number, preview=_as_preview(frame))


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
    """Within this, ComfyUI's interrupt takes effect before the next layer, not only after a batch."""
    import comfy.model_management as mm

    def check(module: nn.Module, args: tuple) -> None:
        mm.throw_exception_if_processing_interrupted()

    hooks = [
        module.register_forward_pre_hook(check)
        for network in networks
        if network is not None
        for module in network.modules()
        if next(module.children(), None) is None and next(module.parameters(), None) is not None
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
    and the editor, which only shrinks pictures, leaves no space beside it; a large one is shrunk by ComfyUI."""
    from PIL import Image

    picture = Image.fromarray((frame.permute(1, 2, 0) * 255).round().byte().cpu().numpy())
    if max(picture.size) > LARGEST_PREVIEW:
        return "JPEG", picture, LARGEST_PREVIEW
    factor = ceil(PREVIEW_SIDE / max(picture.size))
    return "JPEG", picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST), None
