"""Plot the curves of music and motion over time, before and after they were matched."""

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .panels import BACKGROUND, INK

MUSIC, MOTION, BEAT = (232, 116, 59), (76, 139, 245), (96, 72, 58)
ROW, MARGIN, FONT_SIZE = 150, 14, 16


def plot_beats(
    seconds: float,
    music: np.ndarray,
    beats: np.ndarray,
    rows: list[tuple[str, np.ndarray, np.ndarray]],
    width: int = 1200,
) -> Image.Image:
    """Return a picture with a row for the music and for each motion; beats are vertical lines through all of them.

    seconds: what the width stands for. music: values in [0, 1], evenly over that time. rows: name, values in about
    [0, 1] evenly over that time, and times of accents, which are marked.
    """
    picture = Image.new("RGB", (width, ROW * (1 + len(rows)) + MARGIN), BACKGROUND)
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(FONT_SIZE)

    def x_of(time: float) -> float:
        return MARGIN + time / seconds * (width - 2 * MARGIN)

    for beat in beats:
        draw.line((x_of(beat), 0, x_of(beat), picture.height), BEAT, 1)
    for number, (name, values, marks) in enumerate([("music", music, np.empty(0)), *rows]):
        bottom, colour = ROW * (number + 1), MOTION if number else MUSIC
        high = ROW - FONT_SIZE - 3 * MARGIN
        times = np.linspace(0, seconds, len(values))
        heights = bottom - np.clip(values, 0, 1.2) / 1.2 * high
        draw.line([(x_of(time), float(y)) for time, y in zip(times, heights)], colour, 2)
        for mark in marks:
            y = bottom - float(np.interp(mark, times, np.clip(values, 0, 1.2))) / 1.2 * high
            draw.ellipse((x_of(mark) - 4, y - 4, x_of(mark) + 4, y + 4), INK)
        draw.text((MARGIN, bottom - ROW + MARGIN / 2), name, INK, font)
    return picture
