"""MagicDance without ComfyUI: networks, checkpoints, poses, sampling, training, evaluation."""

from importlib import import_module

_EXPORTS = {
    "InputError": ".errors",
    "MagicDanceOutput": ".pipeline",
    "MagicDancePipeline": ".pipeline",
    "PRESETS": ".sampling",
    "Background": ".sampling",
    "Control": ".sampling",
    "Preset": ".sampling",
    "Region": ".sampling",
    "SamplingSettings": ".sampling",
    "Shortcuts": ".sampling",
    "Windows": ".sampling",
    "named_scheduler": ".schedule",
}
__all__ = list(_EXPORTS)


def __getattr__(name: str):
    """Import on first use: torch and diffusers take seconds, and most commands' help needs neither."""
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_EXPORTS[name], __name__), name)
