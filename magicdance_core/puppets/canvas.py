"""Draw shapes in scene units (complex points, flat colours) on a supersampled picture."""

from cmath import rect
from math import pi

from PIL import Image, ImageDraw

from .palettes import Colour

_CIRCLE = [rect(1, 2 * pi * i / 28) for i in range(28)]


class Canvas:
    """A picture whose square scene (0..1 in x and y) is `scale` pixels wide and starts at `origin`."""

    def __init__(self, image: Image.Image, scale: float, origin: complex):
        self.scale = scale
        # Pillow counts from pixel centres.
        self._x, self._y = origin.real - 0.5, origin.imag - 0.5
        self._draw = ImageDraw.Draw(image)
        # The whole picture in scene units.
        self.left, self.top = -origin.real / scale, -origin.imag / scale
        self.right, self.bottom = self.left + image.width / scale, self.top + image.height / scale

    def _pixels(self, points) -> list[tuple[float, float]]:
        s, x, y = self.scale, self._x, self._y
        return [(p.real * s + x, p.imag * s + y) for p in points]

    def polygon(self, points, colour: Colour) -> None:
        self._draw.polygon(self._pixels(points), colour)

    def box(self, left: float, top: float, right: float, bottom: float, colour: Colour) -> None:
        s, x, y = self.scale, self._x, self._y
        self._draw.rectangle((left * s + x, top * s + y, right * s + x, bottom * s + y), colour)

    def circle(self, centre: complex, radius: float, colour: Colour) -> None:
        self.ellipse(centre, radius, radius, colour)

    def ellipse(self, centre: complex, width: float, height: float, colour: Colour) -> None:
        """Draw an upright ellipse with the given semi-axes."""
        s = self.scale
        x, y, w, h = centre.real * s + self._x, centre.imag * s + self._y, width * s, height * s
        self._draw.ellipse((x - w, y - h, x + w, y + h), colour)

    def oval(self, centre: complex, right: complex, down: complex, colour: Colour) -> None:
        """Draw an ellipse with any two semi-axes."""
        self.polygon([centre + right * p.real + down * p.imag for p in _CIRCLE], colour)

    def line(self, points, width: float, colour: Colour) -> None:
        self._draw.line(self._pixels(points), colour, max(1, round(width * self.scale)), joint="curve")

    def capsule(self, start: complex, end: complex, first: float, second: float, colour: Colour) -> None:
        """Draw a limb with round ends of two radii."""
        along = end - start
        normal = along * 1j / (abs(along) or 1)
        a, b = normal * first, normal * second
        self.polygon((start + a, end + b, end - b, start - a), colour)
        self.circle(start, first, colour)
        self.circle(end, second, colour)


def smooth(points: list[complex], closed: bool = True, steps: int = 3) -> list[complex]:
    """Return a Catmull-Rom curve through the points, with `steps` segments between neighbours."""
    n = len(points)
    curve = []
    for i in range(n if closed else n - 1):
        if closed:
            before, start, end, after = points[i - 1], points[i], points[(i + 1) % n], points[(i + 2) % n]
        else:
            before, start, end, after = points[max(i - 1, 0)], points[i], points[i + 1], points[min(i + 2, n - 1)]
        for w0, w1, w2, w3 in _weights(steps):
            curve.append(before * w0 + start * w1 + end * w2 + after * w3)
    if not closed:
        curve.append(points[-1])
    return curve


def _weights(steps: int):
    if steps not in _WEIGHTS:
        _WEIGHTS[steps] = [
            ((-t + 2 * t * t - t**3) / 2, (2 - 5 * t * t + 3 * t**3) / 2, (t + 4 * t * t - 3 * t**3) / 2,
             (t**3 - t * t) / 2)
            for t in (i / steps for i in range(steps))
        ]  # fmt: skip
    return _WEIGHTS[steps]


_WEIGHTS: dict[int, list[tuple[float, float, float, float]]] = {}
