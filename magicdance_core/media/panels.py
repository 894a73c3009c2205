"""Contact sheets: pictures side by side with captions."""

from collections.abc import Sequence
from itertools import accumulate

from PIL import Image, ImageDraw, ImageFont

GAP, CAPTION_HEIGHT, FONT_SIZE = 8, 34, 21
BACKGROUND, INK = (22, 23, 27), (214, 216, 222)
BASE_SIDE = 256  # captions of larger pictures are scaled up


def contact_sheet(rows: Sequence[Sequence[Image.Image]], captions: Sequence[str], panel: int = 256) -> Image.Image:
    """Return rows of equally many RGB pictures under one line of captions, on a dark background.

    Each picture is resized (Lanczos) so that its short side has `panel` pixels; all should have the same aspect ratio.
    Captions may repeat, for several groups of columns.
    """
    rows = [[_resized(picture, panel) for picture in row] for row in rows]
    width, height = rows[0][0].size
    sheet, lefts, tops = blank_sheet([width] * len(captions), [height] * len(rows), captions)
    for row, top in zip(rows, tops):
        for picture, left in zip(row, lefts):
            sheet.paste(picture, (left, top))
    return sheet


def blank_sheet(
    widths: Sequence[int], heights: Sequence[int], captions: Sequence[str]
) -> tuple[Image.Image, list[int], list[int]]:
    """Return a dark RGB picture with room for columns and rows of pictures, and their left and top positions.

    captions: at most one per column; without any there is no caption line. The sides are even, as videos need.
    """
    scale = max(1.0, min(heights) / BASE_SIDE)
    head = round(scale * CAPTION_HEIGHT) if captions else GAP
    lefts = list(accumulate((width + GAP for width in widths), initial=GAP))
    tops = list(accumulate((height + GAP for height in heights), initial=head))
    sheet = Image.new("RGB", (lefts[-1] + lefts[-1] % 2, tops[-1] + tops[-1] % 2), BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    for caption, left, width in zip(captions, lefts, widths):
        size = scale * FONT_SIZE
        size *= min(1.0, width / max(1.0, ImageFont.load_default(size=size).getlength(caption)))
        font = ImageFont.load_default(size=max(1.0, size))
        draw.text((left + width / 2, head / 2), caption, fill=INK, font=font, anchor="mm")
    return sheet, lefts[:-1], tops[:-1]


def _resized(picture: Image.Image, short_side: int) -> Image.Image:
    scale = short_side / min(picture.size)
    size = round(picture.width * scale), round(picture.height * scale)
    return picture if picture.size == size else picture.resize(size, Image.Resampling.LANCZOS)
