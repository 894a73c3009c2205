"""Draw hair and hats, in the head's local coordinates."""

from math import cos, pi, sin

from .canvas import Canvas, smooth
from .identity import Identity
from .palettes import mix, shade
from .skeleton import SIGNS, Head

# Lower edge of the hair on the forehead, from the picture's right to its left.
_HAIRLINES: dict[str, tuple[tuple[float, float], ...]] = {
    "straight": ((1.0, -0.1), (0.84, -0.34), (0.42, -0.36), (0.0, -0.37), (-0.42, -0.36), (-0.84, -0.34), (-1.0, -0.1)),
    "side": ((1.02, -0.02), (0.9, -0.38), (0.6, -0.6), (0.3, -0.72), (-0.2, -0.55), (-0.8, -0.3), (-1.02, -0.02)),
    "curtain": ((1.02, 0.12), (0.88, -0.28), (0.45, -0.52), (0.0, -0.8), (-0.45, -0.52), (-0.88, -0.28), (-1.02, 0.12)),
    "high": ((1.0, -0.05), (0.9, -0.42), (0.62, -0.62), (0.0, -0.68), (-0.62, -0.62), (-0.9, -0.42), (-1.0, -0.05)),
    "swoop": ((1.02, -0.05), (0.88, -0.3), (0.6, -0.32), (0.15, -0.45), (-0.4, -0.66), (-0.86, -0.48), (-1.02, -0.05)),
}  # fmt: skip
_LONG_STYLES = ("bob", "long", "wavy", "pigtails", "braids")
_CROWN = [pi * k / 10 for k in range(11)]


def draw_back_hair(canvas: Canvas, identity: Identity, head: Head) -> None:
    """Draw the hair behind head and body."""
    style, full = identity.hair_style, identity.hair_volume
    dark = shade(identity.hair_colour, 0.80)
    colour = identity.hair_colour
    unit = abs(head.down)

    def shape(points, tone=dark, depth=-0.45):
        canvas.polygon(smooth([head.at(x, y, depth) for x, y in points]), tone)

    if style == "afro":
        canvas.oval(head.at(0, -0.30, -0.2), head.right * (1.42 * full), head.down * (1.12 * full), dark)
        canvas.oval(head.at(0, -0.34, -0.2), head.right * (1.36 * full), head.down * (1.06 * full), colour)
    elif style == "curly":
        for x, y in ((-1.0, 0.15), (1.0, 0.15), (-1.1, -0.25), (1.1, -0.25), (-0.95, -0.62), (0.95, -0.62)):
            canvas.circle(head.at(x, y, -0.2), 0.34 * full * unit, dark)
    elif style == "bob":
        wide = 1.28 * full
        shape(((0, -1.0), (0.9, -0.8), (wide, 0), (wide * 1.02, 0.70), (0.7, 0.98), (0, 0.9), (-0.7, 0.98),
               (-wide * 1.02, 0.70), (-wide, 0), (-0.9, -0.8)))  # fmt: skip
    elif style == "long":
        wide = 1.22 * full
        shape(((0, -1.0), (0.95, -0.8), (wide, 0), (wide * 1.02, 1.2), (1.05, 1.95), (0, 1.8), (-1.05, 1.95),
               (-wide * 1.02, 1.2), (-wide, 0), (-0.95, -0.8)))  # fmt: skip
    elif style == "wavy":
        wide = 1.25 * full
        right = ((0.95, -0.8), (wide, -0.1), (wide * 1.18, 0.4), (wide, 0.8), (wide * 1.2, 1.25), (0.95, 1.7))
        shape(((0, -1.0), *right, (0, 1.5), *((-x, y) for x, y in reversed(right))))
    elif style == "ponytail":
        side = -1 if identity.hair_flip else 1
        shape([(side * x, y) for x, y in ((0.5, -1.0), (1.05, -1.12), (1.65, -0.7), (1.85, 0.2), (1.6, 1.1),
              (1.45, 0.4),
                                          (1.3, -0.3), (0.8, -0.6))], colour)  # fmt: skip
    elif style == "pigtails":
        for sign in SIGNS:
            shape([(sign * x, y) for x, y in ((0.9, -0.35), (1.35, -0.55), (1.85, -0.1), (1.95, 0.6), (1.6, 1.15),
                                              (1.35, 0.6), (1.2, 0.1))], colour)  # fmt: skip
    elif style == "bun":
        canvas.circle(head.at(0, -1.28, -0.5), 0.46 * full * unit, dark)
        canvas.circle(head.at(0, -1.30, -0.5), 0.40 * full * unit, colour)
    elif style == "space buns":
        for sign in SIGNS:
            canvas.circle(head.at(0.82 * sign, -1.02, -0.3), 0.42 * full * unit, dark)
            canvas.circle(head.at(0.83 * sign, -1.04, -0.3), 0.36 * full * unit, colour)
    elif style == "mohawk":
        shape(((-0.34, -0.8), (-0.42, -1.25), (-0.22, -1.62), (0.1, -1.70), (0.38, -1.35), (0.34, -0.8)), colour, 0.1)


def draw_front_hair(canvas: Canvas, identity: Identity, head: Head) -> None:
    """Draw the hair on the head, fringe, and strands in front of the body."""
    style, full = identity.hair_style, identity.hair_volume
    colour = identity.hair_colour
    dark, light = shade(colour, 0.80), mix(colour, (255, 250, 240), 0.22)
    unit = abs(head.down)
    if style == "bald":
        canvas.oval(
            head.at(-0.32, -0.68, 0.5), head.right * 0.16, head.down * 0.09, mix(identity.skin, (255, 255, 255), 0.45)
        )
        return
    if style in ("buzz", "mohawk"):
        tone = mix(identity.skin, colour, 0.7 if style == "buzz" else 0.35)
        _cap(canvas, head, _HAIRLINES["high"], 1.03, 1.03, tone, tone)
        if style == "mohawk":
            crest = ((-0.34, -0.95), (-0.28, -0.45), (0.0, -0.30), (0.28, -0.45), (0.34, -0.95), (0.0, -1.3))
            canvas.polygon(smooth([head.at(x, y, 0.6) for x, y in crest]), colour)
        return

    fringe = "high" if style in ("spiky", "quiff", "afro", "curly") else identity.fringe
    if style == "short" and fringe == "curtain":
        fringe = "straight"
    if style == "side part":
        fringe = "side"
    line = _HAIRLINES[fringe]
    if identity.hair_flip:
        line = tuple((-x, y) for x, y in reversed(line))
    rise = {"spiky": 1.06, "afro": 1.12}.get(style, 1.13 * full**0.5)
    _cap(canvas, head, line, 1.07 if style not in _LONG_STYLES else 1.13, rise, colour, dark)
    if style not in ("afro", "curly"):
        gloss = [head.at(x, y, 0.5) for x, y in ((-0.66, -0.72), (-0.42, -0.90), (-0.12, -0.97))]
        canvas.line(smooth(gloss, closed=False), 0.085 * unit, light)

    if style == "spiky":
        for k in range(7):
            angle = pi * (0.08 + 0.14 * k)
            tip, base = 1.48 * full, 0.95
            points = [(-cos(a) * r, -sin(a) * r) for a, r in ((angle - 0.3, base), (angle, tip), (angle + 0.3, base))]
            canvas.polygon([head.at(x, y, 0.15) for x, y in points], colour)
    elif style == "quiff":
        flip = -1 if identity.hair_flip else 1
        tuft = (
            (-0.75, -0.62),
            (-0.80, -1.10),
            (-0.30, -1.42),
            (0.45, -1.46),
            (0.88, -1.10),
            (0.70, -0.75),
            (0.1, -0.70),
        )
        canvas.polygon(smooth([head.at(flip * x, y, 0.55) for x, y in tuft]), colour)
        highlight = ((-0.5, -1.05), (-0.1, -1.22), (0.35, -1.22))
        canvas.line(smooth([head.at(flip * x, y, 0.55) for x, y in highlight], closed=False), 0.09 * unit, light)
    elif style == "curly":
        for k in range(8):
            angle = pi * (0.02 + 0.137 * k)
            canvas.circle(head.at(-0.98 * cos(angle), -0.20 - 0.82 * sin(angle), 0.2), 0.36 * full * unit, colour)
        for x, y in ((-0.55, -0.62), (0.0, -0.70), (0.55, -0.62)):
            canvas.circle(head.at(x, y, 0.7), 0.30 * full * unit, colour)
        for x, y in ((-0.62, -0.95), (0.05, -1.08), (0.6, -0.8)):
            canvas.circle(head.at(x - 0.05, y, 0.4), 0.10 * unit, light)
    elif style in ("bob", "long", "wavy"):
        low = {"bob": 0.82, "long": 1.35, "wavy": 1.20}[style]
        for sign in SIGNS:
            strand = (
                (0.80, -0.55),
                (1.13, -0.30),
                (1.24, 0.3),
                (1.22, low),
                (1.02, low + 0.12),
                (0.98, 0.3),
                (0.93, -0.1),
            )
            canvas.polygon(smooth([head.at(sign * x, y, -0.1) for x, y in strand]), colour)
    elif style == "pigtails":
        for sign in SIGNS:
            canvas.circle(head.at(1.10 * sign, -0.38, -0.2), 0.17 * unit, identity.hat_colour)
    elif style == "ponytail":
        canvas.circle(head.at(-0.85 if identity.hair_flip else 0.85, -0.86, -0.3), 0.17 * unit, identity.hat_colour)
    elif style == "braids":
        for sign in SIGNS:
            for k in range(5):
                radius = (0.25 - 0.015 * k) * unit
                centre = head.at(sign * (1.08 + 0.03 * k), 0.30 + 0.34 * k, -0.1)
                canvas.circle(centre, radius, dark)
                canvas.circle(centre - 0.06j * unit, 0.82 * radius, colour)
            canvas.circle(head.at(sign * 1.2, 1.90, -0.1), 0.13 * unit, identity.hat_colour)


def _cap(canvas: Canvas, head: Head, line, wide: float, rise: float, colour, dark) -> None:
    """Draw the hair on the skull, from the crown to the hairline, with a dark edge at the forehead."""
    crown = [head.at(-wide * cos(a), -rise * sin(a) - 0.02, -0.05) for a in _CROWN]
    edge = smooth(
        [head.at(x * wide / 1.05, y, 0.15 + 0.6 * max(0.0, 1 - x * x)) for x, y in line], closed=False, steps=2
    )
    canvas.polygon(crown + edge, colour)
    canvas.line(edge, 0.05 * abs(head.down), dark)


def draw_hat(canvas: Canvas, identity: Identity, head: Head) -> None:
    """Draw the hat."""
    hat, colour, band = identity.hat, identity.hat_colour, identity.hat_band
    dark = shade(colour, 0.78)
    side = -1 if identity.hair_flip else 1

    def shape(points, tone, depth=0.3):
        canvas.polygon(smooth([head.at(x, y, depth) for x, y in points]), tone)

    def arch(wide, top, low, tone, depth=0.25):
        dome = [head.at(-wide * cos(a), low - (low - top) * sin(a), depth * sin(a)) for a in _CROWN]
        rim = [head.at(x * wide, low + y, 0.15 + 0.5 * (1 - x * x)) for x, y in ((0.6, 0.06), (0, 0.09), (-0.6, 0.06))]
        canvas.polygon(dome + rim, tone)

    def brim(wide, level, tall, tone):
        canvas.polygon(
            [head.at(wide * cos(2 * a), level + tall * sin(2 * a), 0.3) for a in (pi * k / 20 for k in range(20))], tone
        )

    if hat == "cap":
        arch(1.14, -1.26, -0.42, colour)
        shape(((-0.75 * side, -0.50), (0.2 * side, -0.62), (1.05 * side, -0.52), (1.55 * side, -0.30),
              (0.7 * side, -0.30),
               (-0.3 * side, -0.30)), dark, 0.75)  # fmt: skip
        canvas.circle(head.at(0, -1.24, 0.2), 0.08 * abs(head.down), dark)
    elif hat == "beanie":
        arch(1.15, -1.38, -0.45, colour)
        edge = ((-1.18, -0.62), (0, -0.72), (1.18, -0.62), (1.17, -0.30), (0, -0.36), (-1.17, -0.30))
        canvas.polygon([head.at(x, y, 0.15 + 0.5 * max(0.0, 1 - x * x)) for x, y in edge], band)
        canvas.circle(head.at(0, -1.42, 0.1), 0.24 * abs(head.down), band)
    elif hat == "straw":
        brim(1.75, -0.50, 0.22, dark)
        brim(1.75, -0.54, 0.20, colour)
        arch(1.0, -1.38, -0.56, colour)
        arch(1.0, -0.82, -0.56, band)
    elif hat == "headband":
        points = ((-1.12, -0.62), (-0.5, -0.80), (0, -0.84), (0.5, -0.80), (1.12, -0.62),
                  (1.10, -0.36), (0.5, -0.54), (0, -0.58), (-0.5, -0.54), (-1.10, -0.36))  # fmt: skip
        canvas.polygon([head.at(x, y, 0.1 + 0.6 * max(0.0, 1 - x * x)) for x, y in points], colour)
    elif hat == "top hat":
        canvas.polygon(
            [head.at(x, y, 0.25) for x, y in ((-0.72, -0.66), (-0.80, -1.62), (0.80, -1.62), (0.72, -0.66))], colour
        )
        canvas.polygon(
            [head.at(x, y, 0.25) for x, y in ((-0.73, -0.70), (-0.76, -0.95), (0.76, -0.95), (0.73, -0.70))], band
        )
        brim(1.35, -0.66, 0.14, dark)
    elif hat == "headphones":
        top = [head.at(-1.18 * cos(a), -0.05 - 1.20 * sin(a), 0.0) for a in _CROWN]
        canvas.line(top, 0.13 * abs(head.down), dark)
        for sign in SIGNS:
            canvas.oval(head.at(1.14 * sign, 0.12, -0.05), head.right * 0.24, head.down * 0.34, dark)
            canvas.oval(head.at(1.18 * sign, 0.12, -0.05), head.right * 0.17, head.down * 0.27, colour)
