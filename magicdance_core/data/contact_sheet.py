"""A contact sheet of a prepared data set: frames that were kept, and frames that were dropped."""

from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from ..errors import InputError
from ..media import read_picture, write_picture
from .layouts import read_layout
from .unfinished_video import RECORD, read_record
from .video_frames import VideoFrames

TILE, CAPTION, GAP, COLUMNS, VIDEOS = 160, 34, 8, 6, 24
BACKGROUND, INK, RED = (22, 23, 27), (214, 216, 222), (226, 110, 100)


def write_sheet(out: Path, path: Path) -> None:
    """Write a picture of up to 24 videos of the data set `out`: kept frames under their poses, then dropped ones."""
    entries = read_layout(out)
    frames = VideoFrames(entries)
    tiles = []
    for number in _spread(len(entries), VIDEOS):
        video = frames.videos[number]
        frame = frames.read(number, video.frames // 2)
        picture = Image.fromarray(frame.image)
        lines = Image.fromarray(frame.pose)
        picture = Image.composite(lines, picture, lines.convert("L").point(lambda value: 255 * (value > 8)))
        record = read_record(out / "videos" / video.name / RECORD)
        tiles.append((picture, f"{video.name}\n{video.frames} of {record['total']}, {video.split}", INK))
    records = sorted((out / "videos").glob(f"[!.]*/{RECORD}"))
    for file in (records[k] for k in _spread(len(records), VIDEOS)):
        record = read_record(file)
        for reason, number in record["examples"].items():
            try:
                picture = read_picture(file.with_name(f"dropped-{number:06d}.jpg"))
            except InputError:  # only for looking at; the data set is complete without it
                continue
            tiles.append((picture, f"{record['name']}, frame {number}\n{reason}", RED))
    write_picture(path, _tiled(tiles))


def _tiled(tiles: list[tuple[Image.Image, str, tuple[int, int, int]]]) -> Image.Image:
    rows = -(-len(tiles) // COLUMNS)
    width, height = GAP + min(COLUMNS, len(tiles)) * (TILE + GAP), GAP + rows * (TILE + CAPTION + GAP)
    sheet = Image.new("RGB", (width, height), BACKGROUND)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=12)
    for number, (picture, caption, ink) in enumerate(tiles):
        row, column = divmod(number, COLUMNS)
        left, top = GAP + column * (TILE + GAP), GAP + row * (TILE + CAPTION + GAP)
        picture.thumbnail((TILE, TILE), Image.Resampling.LANCZOS)
        sheet.paste(picture, (left + (TILE - picture.width) // 2, top + (TILE - picture.height) // 2))
        short = "\n".join(line[:26] for line in caption.split("\n"))
        draw.multiline_text((left, top + TILE + 2), short, fill=ink, font=font, spacing=2)
    return sheet


def _spread(count: int, max_count: int) -> list[int]:
    """Return at most `max_count` numbers below `count`, evenly spread."""
    return sorted({k * count // min(count, max_count) for k in range(min(count, max_count))}) if count else []
