"""How much memory a run needs and has, as far as it decides how a run computes."""

import torch


def denoising_memory(frames: int, latent_pixels: int, dtype: torch.dtype) -> float:
    """Bytes that a UNet, with the ControlNet's residuals and the reference's tokens, needs for a batch.

    ComfyUI's estimate for Stable Diffusion 1.5 is 0.01 MiB a byte of a latent pixel; attention here has twice the keys.
    """
    return 1.5 * 0.01 * 2**20 * frames * latent_pixels * dtype.itemsize


def fits_both_halves(device: torch.device, frames: int, latent_pixels: int, dtype: torch.dtype) -> bool:
    """Whether both halves of guidance may go through the UNet together: on a GPU with twice the memory to spare.

    A CPU gains nothing from larger batches.
    """
    if device.type != "cuda":
        return False
    free = torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return free > 2 * denoising_memory(2 * frames, latent_pixels, dtype)
