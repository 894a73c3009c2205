"""Pictures side by side with captions: what a demo, an evaluation or a training run is judged by."""

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

GAP, CAPTION_HEIGHT, FONT_SIZE = 8, 26, 15
BACKGROUND, INK = (22, 23, 27), (214, 216, 222)


def contact_sheet(rows: Sequence[Sequence[Image.Image]], captions: Sequence[str], panel: int = 256) -> Image.Image:
    """Rows of equally many RGB pictures under one line of captions, on a dark ground.

    Each picture is resized (Lanczos) so that its short side has `panel` pixels; all should have one shape. Two or more
    sets of columns come from repeating the captions.
    """
    rows = [[_enlarged(picture, panel) for picture in row] for row in rows]
    width, height = rows[0][0].size
    sheet = Image.new(
        "RGB",
        (GAP + len(captions) * (width + GAP), CAPTION_HEIGHT + len(rows) * (height + GAP)),
        BACKGROUND,
    )
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=FONT_SIZE)
    for column, caption in enumerate(captions):
        left = GAP + column * (width + GAP)
        draw.text((left + width / 2, CAPTION_HEIGHT / 2), caption, fill=INK, font=font, anchor="mm")
        for row, pictures in enumerate(rows):
            sheet.paste(pictures[column], (left, CAPTION_HEIGHT + row * (height + GAP)))
    return sheet


def _enlarged(picture: Image.Image, short_side: int) -> Image.Image:
    scale = short_side / min(picture.size)
    size = round(picture.width * scale), round(picture.height * scale)
    return picture if picture.size == size else picture.resize(size, Image.Resampling.LANCZOS)
