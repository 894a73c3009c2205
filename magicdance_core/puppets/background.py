"""Draw the scene behind a puppet, which depends on the identity only, as the camera is static."""

from functools import lru_cache
from math import ceil, cos, floor, pi, sin

from PIL import Image

from .canvas import Canvas
from .identity import Identity
from .palettes import mix, shade


@lru_cache(maxsize=16)
def background(identity: Identity, width: int, height: int, scale: int, origin: complex) -> Image.Image:
    """Return the scene, RGB, width x height pixels. The picture is cached: copy it before drawing on it."""
    image = Image.new("RGB", (width, height), identity.wall)
    canvas = Canvas(image, scale, origin)
    _SCENES[identity.background](canvas, identity)
    return image


def shadow_colour(identity: Identity):
    """Return the colour of the shadow under the puppet's feet."""
    return shade(identity.floor, 0.80)


def _floor(canvas: Canvas, identity: Identity) -> None:
    canvas.box(canvas.left, identity.horizon, canvas.right, canvas.bottom, identity.floor)


def _room(canvas: Canvas, identity: Identity) -> None:
    _floor(canvas, identity)
    canvas.box(
        canvas.left, identity.horizon - 0.03, canvas.right, identity.horizon, mix(identity.wall, (255, 255, 255), 0.5)
    )
    centre = complex(0.5, identity.horizon + 0.15)  # a rug
    canvas.ellipse(centre, 0.40, 0.10, mix(identity.floor, identity.scene_accent, 0.45))


def _gradient(canvas: Canvas, identity: Identity) -> None:
    steps = 48
    low = identity.horizon
    for k in range(steps):
        colour = mix(identity.wall, identity.scene_accent, 0.7 * k / steps)
        top = canvas.top if k == 0 else low * k / steps
        canvas.box(canvas.left, top, canvas.right, low * (k + 1) / steps, colour)
    _floor(canvas, identity)


def _hills(canvas: Canvas, identity: Identity) -> None:
    canvas.circle(
        complex(0.5 + 0.32 * identity.scene_shift, 0.20), 0.09, mix(identity.scene_accent, (255, 255, 255), 0.3)
    )
    for level, rise, period, colour in (
        (0.56, 0.07, 0.62, mix(identity.wall_second, identity.floor, 0.35)),
        (0.68, 0.05, 0.45, mix(identity.wall_second, identity.floor, 0.7)),
    ):
        points = _wave(canvas, level, rise, period, identity.scene_shift)
        canvas.polygon([*points, complex(canvas.right, canvas.bottom), complex(canvas.left, canvas.bottom)], colour)
    canvas.box(canvas.left, identity.horizon + 0.04, canvas.right, canvas.bottom, identity.floor)


def _wave(canvas: Canvas, level: float, rise: float, period: float, shift: float) -> list[complex]:
    xs = [canvas.left + (canvas.right - canvas.left) * k / 48 for k in range(49)]
    return [complex(x, level - rise * cos(2 * pi * (x / period + shift))) for x in xs]


def _window(canvas: Canvas, identity: Identity) -> None:
    _floor(canvas, identity)
    x = 0.5 + 0.26 * (1 if identity.scene_shift > 0 else -1)
    frame, sky = mix(identity.wall, (255, 255, 255), 0.75), mix(identity.scene_accent, (200, 230, 250), 0.6)
    canvas.box(x - 0.19, 0.10, x + 0.19, 0.52, frame)
    for side in (-1, 1):
        centre = x + side * 0.088
        canvas.box(centre - 0.072, 0.13, centre + 0.072, 0.49, sky)
    canvas.box(x - 0.22, 0.52, x + 0.22, 0.55, shade(frame, 0.85))


def _picture(canvas: Canvas, identity: Identity) -> None:
    _floor(canvas, identity)
    x = 0.5 - 0.30 * (1 if identity.scene_shift > 0 else -1)
    canvas.box(x - 0.15, 0.14, x + 0.15, 0.46, shade(identity.floor, 0.75))
    canvas.box(x - 0.125, 0.165, x + 0.125, 0.435, mix(identity.scene_accent, (255, 255, 255), 0.4))
    canvas.polygon(
        [complex(x - 0.125, 0.435), complex(x - 0.02, 0.27), complex(x + 0.125, 0.435)], identity.scene_accent
    )
    lamp = 1 - x  # a floor lamp on the other side
    canvas.box(lamp - 0.01, 0.34, lamp + 0.01, identity.horizon + 0.06, shade(identity.floor, 0.7))
    canvas.polygon([complex(lamp - 0.06, 0.22), complex(lamp + 0.06, 0.22), complex(lamp + 0.10, 0.36),
                    complex(lamp - 0.10, 0.36)], mix(identity.scene_accent, (255, 250, 220), 0.5))  # fmt: skip


def _wallpaper(canvas: Canvas, identity: Identity) -> None:
    width = 0.09 + 0.03 * identity.scene_shift
    for k in range(floor((canvas.left - 0.5) / (2 * width)), ceil((canvas.right - 0.5) / (2 * width)) + 1):
        x = 0.5 + (2 * k - 0.5) * width
        canvas.box(x, canvas.top, x + width, canvas.bottom, identity.wall_second)
    _floor(canvas, identity)
    canvas.box(canvas.left, identity.horizon - 0.03, canvas.right, identity.horizon, shade(identity.floor, 0.8))


def _city(canvas: Canvas, identity: Identity) -> None:
    colour = mix(identity.wall_second, identity.floor, 0.4)
    lit = mix(colour, identity.scene_accent, 0.6)
    for k in range(floor(canvas.left / 0.19) - 1, ceil(canvas.right / 0.19) + 1):
        x, tall = 0.19 * k + 0.06 * identity.scene_shift, 0.34 + 0.16 * sin(5.1 * k + 9 * identity.scene_shift)
        canvas.box(x, identity.horizon - tall, x + 0.165, identity.horizon, colour)
        for row in range(int((tall - 0.08) / 0.11)):
            y = identity.horizon - tall + 0.05 + 0.11 * row
            for column in (0.035, 0.095):
                canvas.box(x + column, y, x + column + 0.035, y + 0.05, lit)
    _floor(canvas, identity)


def _circles(canvas: Canvas, identity: Identity) -> None:
    shift = identity.scene_shift
    for x, y, radius, colour in (
        (0.5 + 0.15 * shift, 0.42, 0.34, identity.wall_second),
        (0.14 + 0.05 * shift, 0.18, 0.11, mix(identity.wall, identity.scene_accent, 0.7)),
        (0.86 + 0.05 * shift, 0.60, 0.09, mix(identity.wall, identity.scene_accent, 0.45)),
    ):
        canvas.circle(complex(x, y), radius, colour)
    _floor(canvas, identity)


def _stage(canvas: Canvas, identity: Identity) -> None:
    _floor(canvas, identity)
    for x, lean, strength in ((0.12, 0.20, 0.30), (0.5, 0.10 * identity.scene_shift, 0.20), (0.88, -0.20, 0.30)):
        beam = mix(identity.wall, identity.scene_accent, strength)
        low = complex(x + lean, identity.horizon)
        canvas.polygon([complex(x - 0.02, canvas.top), complex(x + 0.02, canvas.top), low + 0.13, low - 0.13], beam)
    canvas.ellipse(complex(0.5, identity.horizon + 0.14), 0.42, 0.10, mix(identity.floor, identity.scene_accent, 0.25))


def _sunset(canvas: Canvas, identity: Identity) -> None:
    centre = complex(0.5 + 0.2 * identity.scene_shift, identity.horizon - 0.06)
    for radius, amount in ((0.62, 0.15), (0.46, 0.32), (0.30, 0.55), (0.17, 0.85)):
        canvas.circle(centre, radius, mix(identity.wall, identity.scene_accent, amount))
    _floor(canvas, identity)


def _beach(canvas: Canvas, identity: Identity) -> None:
    for x, y, size in ((0.20, 0.16, 0.05), (0.78, 0.26, 0.06)):
        cloud = mix(identity.wall, (255, 255, 255), 0.6)
        x += 0.1 * identity.scene_shift
        for dx, grow in ((-1.2, 0.75), (0, 1.0), (1.2, 0.8)):
            canvas.circle(complex(x + dx * size, y - 0.2 * grow * size), grow * size, cloud)
    canvas.box(canvas.left, 0.60, canvas.right, canvas.bottom, mix(identity.wall_second, (40, 120, 160), 0.45))
    shore = _wave(canvas, identity.horizon, 0.015, 0.5, identity.scene_shift)
    canvas.polygon([*shore, complex(canvas.right, canvas.bottom), complex(canvas.left, canvas.bottom)], identity.floor)


_SCENES = {
    "room": _room, "gradient": _gradient, "hills": _hills, "window": _window, "picture": _picture,
    "wallpaper": _wallpaper, "city": _city, "circles": _circles, "stage": _stage, "sunset": _sunset, "beach": _beach,
}  # fmt: skip
