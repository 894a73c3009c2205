"""A motion module in AnimateDiff's v2 layout, as `mm_sd_v15_v2.ckpt` has it, with random weights."""

import torch

LENGTH = 32  # frames that a v2 module has positions for


def motion_state(widths: tuple[int, ...] = (320, 640, 1280, 1280), std: float = 0.05) -> dict[str, torch.Tensor]:
    """546 tensors in float16."""
    places = [(f"down_blocks.{i}.motion_modules.{j}", width) for i, width in enumerate(widths) for j in range(2)]
    places += [(f"up_blocks.{i}.motion_modules.{j}", width) for i, width in enumerate(widths[::-1]) for j in range(3)]
    places.append(("mid_block.motion_modules.0", widths[-1]))
    random = torch.Generator().manual_seed(4)
    state = {}

    def add(name: str, *shape: int) -> None:
        state[name] = (torch.randn(shape, generator=random) * std).half()

    for place, width in places:
        place += ".temporal_transformer"
        block = f"{place}.transformer_blocks.0"
        for norm in ("norm", "transformer_blocks.0.ff_norm", *(f"transformer_blocks.0.norms.{k}" for k in range(2))):
            add(f"{place}.{norm}.weight", width)
            add(f"{place}.{norm}.bias", width)
            state[f"{place}.{norm}.weight"] += 1
        linear = {f"{place}.proj_in": (width, width), f"{place}.proj_out": (width, width)}
        linear |= {f"{block}.ff.net.0.proj": (8 * width, width), f"{block}.ff.net.2": (width, 4 * width)}
        for k in range(2):
            attention = f"{block}.attention_blocks.{k}"
            linear[f"{attention}.to_out.0"] = width, width
            for kind in "qkv":
                add(f"{attention}.to_{kind}.weight", width, width)
            add(f"{attention}.pos_encoder.pe", 1, LENGTH, width)
        for name, shape in linear.items():
            add(f"{name}.weight", *shape)
            add(f"{name}.bias", shape[0])
    return state
