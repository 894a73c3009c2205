"""Pictures as they really are: formats, orientation, transparency, depth."""

import logging
import subprocess

import numpy as np
import pytest
from bug_reports import CASES, has_cases
from PIL import Image

from magicdance_core.errors import InputError
from magicdance_core.media import BLACK, parse_colour, read_frames, read_picture
from magicdance_core.media.resampling import ResampledFrames

RED, BLUE = (220, 30, 40), (20, 50, 210)
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n0 0 8 8 rectfill\nshowpage\n%%EOF\n"


def halves(width=24, height=16):
    image = Image.new("RGB", (width, height), RED)
    image.paste(BLUE, (width // 2, 0, width, height))
    return image


def turned(orientation=6):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.gif", "a.webp"])
def test_a_postscript_file_starts_no_program(tmp_path, monkeypatch, name):
    monkeypatch.setattr(subprocess, "check_call", lambda *a, **k: pytest.fail("a program was started"))
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: pytest.fail("a program was started"))
    (tmp_path / name).write_bytes(EPS)
    for read in (read_picture, lambda path: list(read_frames(path)), lambda path: list(ResampledFrames(path))):
        with pytest.raises(InputError, match="cannot be read as a picture"):
            read(tmp_path / name)
    with pytest.raises(InputError, match="cannot be read as a picture"):
        list(read_frames(tmp_path))


@pytest.mark.parametrize("kind", ["PCX", "PPM", "TGA", "ICO", "ICNS", "JPEG2000", "DDS", "SGI", "PDF"])
def test_formats_outside_of_the_list_are_refused(tmp_path, kind):
    try:
        halves(32, 32).save(tmp_path / "a.png", format=kind)
    except (KeyError, OSError):
        pytest.skip(f"this Pillow writes no {kind}")
    with pytest.raises(InputError, match="cannot be read as a picture"):
        read_picture(tmp_path / "a.png")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
def test_formats_of_the_list_are_read_whatever_their_name(tmp_path, kind):
    if kind == "AVIF":
        Image.init()
        if kind not in Image.SAVE:
            pytest.skip("this Pillow writes no AVIF")
    halves().save(tmp_path / "a.png", format=kind)
    assert np.abs(np.asarray(read_picture(tmp_path / "a.png"), int)[8, 3] - RED).max() < 30


def test_a_heic_without_the_plug_in_says_what_to_install(tmp_path):
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    with pytest.raises(InputError, match="a.heic (is a HEIC picture: install pillow-heif|cannot be read)"):
        read_picture(tmp_path / "a.heic")


def roads(path):
    """The same picture by every road."""
    folder = path.parent
    yield read_picture(path)
    yield from read_frames(path)
    yield from read_frames(folder)
    yield from map(Image.fromarray, ResampledFrames(path))
    yield from map(Image.fromarray, ResampledFrames(folder))


def test_a_phone_picture_with_a_second_one_inside_is_one_upright_picture(tmp_path):
    path = tmp_path / "a.jpg"
    halves(96, 64).save(path, format="MPO", save_all=True, append_images=[Image.new("RGB", (48, 32))], exif=turned())
    with Image.open(path) as image:
        assert image.n_frames == 2
    found = list(roads(path))
    assert len(found) == 5
    for image in found:
        assert image.size == (64, 96) and np.abs(np.asarray(image, int)[10, 30] - RED).max() < 30


@has_cases
def test_the_phone_picture_of_a_bug_report_is_one_upright_picture():
    (shown,), (sampled,) = read_frames(CASES / "phone_mpo.jpg"), ResampledFrames(CASES / "phone_mpo.jpg")
    assert shown.size == read_picture(CASES / "phone_mpo.jpg").size == (400, 512) and sampled.shape == (512, 400, 3)


@pytest.mark.parametrize("kind, suffix", [("PNG", "png"), ("WEBP", "webp")])
def test_animations_are_turned_upright_too(tmp_path, kind, suffix):
    path = tmp_path / f"a.{suffix}"
    other = halves().transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    halves().save(path, format=kind, save_all=True, append_images=[other], exif=turned(), duration=100, lossless=True)
    assert [image.size for image in read_frames(path)] == [(16, 24)] * 2


def test_damaged_exif_data_do_not_make_a_picture_unusable(tmp_path):
    halves().save(tmp_path / "a.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\xff\x12\x01")
    assert read_picture(tmp_path / "a.jpg").size == (24, 16)


def test_pages_of_a_tiff_are_no_animation(tmp_path):
    halves().save(tmp_path / "a.tiff", save_all=True, append_images=[halves(), halves()])
    assert len(list(read_frames(tmp_path / "a.tiff"))) == 1


def hidden(mode="RGBA"):
    """A picture whose left half is hidden by transparency, and whose right one is half transparent."""
    image = halves().convert("RGBA")
    alpha = Image.new("L", image.size, 0)
    alpha.paste(128, (12, 0, 24, 16))
    image.putalpha(alpha)
    return image.convert(mode)


def test_what_transparency_hides_does_not_come_back(tmp_path, caplog):
    hidden().save(tmp_path / "a.png")
    with caplog.at_level(logging.WARNING):
        shown = read_picture(tmp_path / "a.png")
    assert shown.getpixel((0, 0)) == (255, 255, 255) and shown.getpixel((23, 0)) == (137, 152, 232)
    (line,) = caplog.messages
    assert "a.png is transparent in 100 % of its pixels" in line and "#ffffff" in line and "--background-color" in line
    shown = read_picture(tmp_path / "a.png", BLACK)
    assert shown.getpixel((0, 0)) == BLACK and shown.getpixel((23, 0)) == (10, 25, 105)


def test_palettes_and_grey_may_be_transparent(tmp_path):
    Image.new("LA", (4, 4), (9, 0)).save(tmp_path / "a.png")
    indexed = Image.new("P", (4, 4), 3)
    indexed.putpalette([*range(30)])
    indexed.save(tmp_path / "b.png", transparency=3)
    indexed.save(tmp_path / "c.gif", transparency=3)
    Image.new("RGB", (4, 4), RED).save(tmp_path / "d.png", transparency=RED)
    for path in tmp_path.iterdir():
        assert read_picture(path, (1, 2, 3)).getpixel((0, 0)) == (1, 2, 3)


def test_opaque_pictures_with_alpha_stay_as_they_are(tmp_path, caplog):
    halves().convert("RGBA").save(tmp_path / "a.png")
    with caplog.at_level(logging.WARNING):
        assert read_picture(tmp_path / "a.png").tobytes() == halves().tobytes()
    assert not caplog.messages


def test_a_folder_of_transparent_pictures_says_so_once(tmp_path, caplog):
    for name in "abc":
        hidden().save(tmp_path / f"{name}.png")
    with caplog.at_level(logging.WARNING):
        assert [image.getpixel((0, 0)) for image in read_frames(tmp_path)] == [(255, 255, 255)] * 3
    assert len(caplog.messages) == 1


@has_cases
def test_the_removed_background_of_a_bug_report_does_not_come_back():
    with Image.open(CASES / "rgba_hidden.png") as image:
        clear = np.asarray(image)[..., 3] == 0
    assert clear.any() and (np.asarray(read_picture(CASES / "rgba_hidden.png"))[clear] == 255).all()


@pytest.mark.parametrize("scale", [1.0, 255.0, 65535.0, 1000.0])
def test_float_tiffs_have_their_brightness(tmp_path, scale):
    values = np.array([[0.0, 0.25], [0.5, 1.0]], np.float32) * (scale if scale != 1000 else 70_000)
    Image.fromarray(values).save(tmp_path / "a.tiff")
    shown = np.asarray(read_picture(tmp_path / "a.tiff"))
    assert shown[..., 0].tolist() == shown[..., 2].tolist() == [[0, 64], [128, 255]]


@pytest.mark.parametrize("white", [255, 65535, 2**31 - 1])
def test_whole_number_tiffs_have_their_brightness(tmp_path, white):
    values = (np.array([[0, 0.25], [0.5, 1]]) * white).astype(np.int32)
    Image.fromarray(values).save(tmp_path / "a.tiff")
    assert np.asarray(read_picture(tmp_path / "a.tiff"), int)[..., 1] == pytest.approx(
        np.array([[0, 64], [127, 255]]), abs=1
    )


def test_values_that_are_not_finite_are_black(tmp_path):
    Image.fromarray(np.array([[np.nan, 1.0]], np.float32)).save(tmp_path / "a.tiff")
    assert np.asarray(read_picture(tmp_path / "a.tiff"))[0, :, 0].tolist() == [0, 255]


def test_colours_are_names_or_numbers():
    assert parse_colour("white") == (255, 255, 255) and parse_colour("#00ff80") == (0, 255, 128)
    for text in ("", "nothing", "#12", "0.5"):
        with pytest.raises(InputError, match="is unknown: give a name"):
            parse_colour(text)
