"""Pictures side by side with captions: what a demo, an evaluation or a training run is judged by."""

from collections.abc import Sequence
from itertools import accumulate

from PIL import Image, ImageDraw, ImageFont

GAP, CAPTION_HEIGHT, FONT_SIZE = 8, 34, 21
BACKGROUND, INK = (22, 23, 27), (214, 216, 222)
USUAL = 256  # captions of larger pictures are larger


def contact_sheet(rows: Sequence[Sequence[Image.Image]], captions: Sequence[str], panel: int = 256) -> Image.Image:
    """Rows of equally many RGB pictures under one line of captions, on a dark ground.

    Each picture is resized (Lanczos) so that its short side has `panel` pixels; all should have one shape. Two or more
    sets of columns come from repeating the captions.
    """
    rows = [[_enlarged(picture, panel) for picture in row] for row in rows]
    width, height = rows[0][0].size
    sheet, lefts, tops = blank_sheet([width] * len(captions), [height] * len(rows), captions)
    for row, top in zip(rows, tops):
        for picture, left in zip(row, lefts):
            sheet.paste(picture, (left, top))
    return sheet


def blank_sheet(
    widths: Sequence[int], heights: Sequence[int], captions: Sequence[str]
) -> tuple[Image.Image, list[int], list[int]]:
    """A dark RGB picture with places for columns and rows of pictures, and where these begin: lefts and tops.

    captions: one over each column, or fewer; without any there is no line of them. The sides are even, as videos need.
    """
    scale = max(1.0, min(heights) / USUAL)
    head = round(scale * CAPTION_HEIGHT) if captions else GAP
    lefts = list(accumulate((width + GAP for width in widths), initial=GAP))
    tops = list(accumulate((height + GAP for height in heights), initial=head))
    sheet = Image.new("RGB", (lefts[-1] + lefts[-1] % 2, tops[-1] + tops[-1] % 2), BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    for caption, left, width in zip(captions, lefts, widths):
        size = scale * FONT_SIZE
        size *= min(1.0, width / max(1.0, ImageFont.load_default(size=size).getlength(caption)))
        font = ImageFont.load_default(size=size)
        draw.text((left + width / 2, head / 2), caption, fill=INK, font=font, anchor="mm")
    return sheet, lefts[:-1], tops[:-1]


def _enlarged(picture: Image.Image, short_side: int) -> Image.Image:
    scale = short_side / min(picture.size)
    size = round(picture.width * scale), round(picture.height * scale)
    return picture if picture.size == size else picture.resize(size, Image.Resampling.LANCZOS)
