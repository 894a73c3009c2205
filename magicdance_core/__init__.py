"""MagicDance without ComfyUI: networks, checkpoints, poses, sampling, training, evaluation."""

__all__ = ["InputError", "MagicDancePipeline"]


def __getattr__(name: str):
    """Import on first use: torch and diffusers take seconds, and most commands' help needs neither."""
    if name == "MagicDancePipeline":
        from .pipeline import MagicDancePipeline

        return MagicDancePipeline
    if name == "InputError":
        from .errors import InputError

        return InputError
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
