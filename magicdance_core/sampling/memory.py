"""How much memory a run needs and has, as far as it decides how a run computes."""

import torch

MAX_BANKS = 5 * 2**28
"""Bytes: enough for 50 steps of one picture of 512 x 512 in float16."""


def denoising_memory(frames: int, latent_pixels: int, dtype: torch.dtype) -> float:
    """Bytes that a UNet, with the ControlNet's residuals and the reference's tokens, needs for a batch.

    ComfyUI's estimate for Stable Diffusion 1.5 is 0.01 MiB a byte of a latent pixel; attention here has twice the keys.
    """
    return 1.5 * 0.01 * 2**20 * frames * latent_pixels * dtype.itemsize


def room_for_banks(device: torch.device) -> int:
    """Bytes that may hold what a reference shows at the steps of a run: a quarter of what a GPU has to spare."""
    if device.type != "cuda":
        return MAX_BANKS
    return min(MAX_BANKS, _free(device) // 4)


def _free(device: torch.device) -> int:
    """Bytes of a GPU's memory that nobody uses."""
    unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return torch.cuda.mem_get_info(device)[0] + unused


def fits_both_halves(device: torch.device, frames: int, latent_pixels: int, dtype: torch.dtype) -> bool:
    """Whether both halves of guidance may go through the UNet together: on a GPU with twice the memory to spare.

    A CPU gains nothing from larger batches.
    """
    if device.type != "cuda":
        return False
    return _free(device) > 2 * denoising_memory(2 * frames, latent_pixels, dtype)
