"""Which precision is quick where."""

import torch

QUICK_WITH = {torch.bfloat16: ("amx_bf16", "avx512_bf16"), torch.float16: ("amx_fp16",)}
"""Instructions without which a CPU takes several times as long in a dtype as in float32."""


def quick_dtype(asked: torch.dtype, device: torch.device) -> torch.dtype:
    """The dtype to compute in: the one asked for, or float32 where a CPU has no instructions for it.

    What torch before 2.11 does not tell counts as missing.
    """
    if device.type != "cpu" or asked not in QUICK_WITH:
        return asked
    known = getattr(torch.cpu, "get_capabilities", dict)()
    return asked if any(known.get(name) for name in QUICK_WITH[asked]) else torch.float32
