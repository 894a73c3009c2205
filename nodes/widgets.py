"""Declarations of inputs that several nodes share, in the form that `INPUT_TYPES` returns.

Each function returns an input's type and options. `advanced=True` hides a widget until the user shows a node's advanced
inputs; ComfyUI versions without that ignore it.
"""

from collections.abc import Sequence
from typing import Any

Input = tuple[str | list[str], dict[str, Any]]

MODEL_DEFAULT = "0: the model's default."
MAX_SEED = 2**64 - 1


def socket(kind: str, tooltip: str, **options) -> Input:
    """Return an input that takes a link only. display_name: what the graph shows in place of the input's name."""
    return kind, {**options, "tooltip": tooltip}


def integer(default: int, low: int, high: int, tooltip: str, **options) -> Input:
    return "INT", {"default": default, "min": low, "max": high, **options, "tooltip": tooltip}


def number(default: float, low: float, high: float, tooltip: str, step: float = 0.05, **options) -> Input:
    return "FLOAT", {
        "default": default,
        "min": low,
        "max": high,
        "step": step,
        "round": 0.001,
        **options,
        "tooltip": tooltip,
    }


def toggle(default: bool, tooltip: str, **options) -> Input:
    return "BOOLEAN", {"default": default, **options, "tooltip": tooltip}


def choice(names: Sequence[str], tooltip: str, **options) -> Input:
    """Return a list of names to choose from; the first is the default."""
    return list(names), {**({"default": names[0]} if names else {}), **options, "tooltip": tooltip}


def seed(tooltip: str) -> Input:
    return integer(0, 0, MAX_SEED, tooltip, control_after_generate=True)


def start_and_end(what: str, of: str = "sampling steps", prefix: str = "") -> dict[str, Input]:
    """Return the widgets `start_percent` and `end_percent`: between which fractions of a run `what` is active."""
    return {
        f"{prefix}start_percent": number(
            0.0, 0.0, 1.0, f"Fraction of the {of} at which {what} becomes active. 0: from the start.", 0.01
        ),
        f"{prefix}end_percent": number(
            1.0, 0.0, 1.0, f"Fraction of the {of} at which {what} ends. 1: active to the end.", 0.01
        ),
    }


def strength_and_range(strength: str, what: str, of: str = "sampling steps") -> dict[str, Input]:
    """Return the widgets of a control. strength: tooltip of its strength."""
    return {"strength": number(1.0, 0.0, 4.0, strength), **start_and_end(what, of)}


def drawn_parts() -> dict[str, Input]:
    """Return the widgets that choose which keypoints are drawn."""
    return {
        "draw_body": toggle(True, "Draw the body: joints and limbs."),
        "draw_hands": toggle(True, "Draw the hands."),
        "draw_face": toggle(True, "Draw the facial landmarks."),
    }


def video_fps() -> Input:
    return number(
        30.0, 1.0, 240.0, "Frames per second at which a connected video is sampled. The training data has 30.", 1.0
    )
