"""Any file gives pictures or an InputError; sizes and crops satisfy their contracts."""

import io

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from PIL import Image

from magicdance_core.errors import InputError
from magicdance_core.limits import MAX_MADE_PIXELS
from magicdance_core.media import fit, fitted_size, read_frames, read_picture, size_of_area, write_animation
from magicdance_core.media.fit import crop_box, describe_crop
from magicdance_core.media.resampling import ResampledFrames, resample
from magicdance_core.media.timing import Timed

SIDES = st.integers(1, 5000)
FRACTIONS = st.tuples(*[st.floats(0, 1)] * 4).map(
    lambda f: (min(f[0], f[2]), min(f[1], f[3]), max(f[0], f[2]), max(f[1], f[3]))
)


# Sizes and crops


@given(SIDES, SIDES, st.sampled_from([8, 64]), st.integers(1, 20))
def test_size_of_area(width, height, unit, units):
    side = units * unit
    try:
        made = size_of_area(width, height, side, unit)
    except InputError:
        assert max(width, height) > 4 * min(width, height) or side < 4 * unit
        return
    assert all(length % unit == 0 and length > 0 for length in made)
    assert 0.3 * side**2 < made[0] * made[1] <= 2 * side**2
    assert width != height or made == (side, side)
    assert (made[0] - made[1]) * (width - height) >= 0


@given(SIDES, SIDES, st.integers(-1, 10**6), st.sampled_from([8, 64]), st.booleans())
def test_fitted_size(width, height, size, unit, keep):
    try:
        made = fitted_size(width, height, size, unit, keep)
    except InputError:
        return
    assert min(made) == size and all(length % unit == 0 for length in made) and made[0] * made[1] <= MAX_MADE_PIXELS


@given(st.tuples(SIDES, SIDES), st.tuples(SIDES, SIDES), st.none() | FRACTIONS)
def test_crop_boxes(size, shape, around):
    left, top, right, bottom = crop_box(size, shape, around)
    assert 0 <= left < right <= size[0] and 0 <= top < bottom <= size[1]
    assert right - left == size[0] or bottom - top == size[1]
    assert (describe_crop("it", size, shape, around) == "") == ((left, top, right, bottom) == (0, 0, *size))
    if around is None:
        return
    for low, high, side, start, stop in (
        (around[0], around[2], size[0], left, right),
        (around[1], around[3], size[1], top, bottom),
    ):
        if (high - low) * side <= stop - start - 1:  # there is room
            assert start <= low * side + 1 and high * side - 1 <= stop


@given(st.tuples(st.integers(1, 40), st.integers(1, 40)), st.tuples(st.integers(1, 40), st.integers(1, 40)))
def test_fitted_pictures(size, shape):
    assert fit(Image.new("RGB", size), *shape).size == shape


# Files


@st.composite
def pictures(draw):
    mode = draw(st.sampled_from(["RGB", "RGBA", "L", "LA", "P", "1", "CMYK", "I;16", "F", "YCbCr"]))
    size = draw(st.integers(1, 20)), draw(st.integers(1, 20))
    kind = draw(st.sampled_from(["PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP"]))
    buffer = io.BytesIO()
    try:
        picture = Image.new(mode, size)
        picture.save(
            buffer, format=kind, **({"save_all": True, "append_images": [picture] * 2} if draw(st.booleans()) else {})
        )
    except (OSError, ValueError, KeyError, TypeError):  # no such mode in this format
        assume(False)
    return kind.lower(), size, buffer.getvalue()


def damaged(data, content: bytes) -> bytes:
    content = bytearray(content)
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    return bytes(content[: data.draw(st.sampled_from([len(content), len(content), len(content) * 2 // 3]))])


@given(pictures())
def test_undamaged_pictures(tmp_path_factory, made):
    kind, size, content = made
    path = tmp_path_factory.mktemp("files") / f"a.{kind}"
    path.write_bytes(content)
    picture = read_picture(path)
    assert picture.mode == "RGB" and picture.size == size
    assert all(frame.mode == "RGB" and frame.size == size for frame in read_frames(path))


@given(pictures(), st.data())
def test_damaged_pictures(tmp_path_factory, made, data):
    kind, _, content = made
    path = tmp_path_factory.mktemp("files") / f"a.{kind}"
    path.write_bytes(damaged(data, content))
    for read in (lambda: [read_picture(path)], lambda: list(read_frames(path))):
        try:
            assert all(frame.mode == "RGB" for frame in read())
        except InputError as error:
            assert "a." in str(error) and "\n" not in str(error)


@given(st.binary(max_size=300), st.sampled_from(["png", "gif", "webp", "tiff", "jpg", "mp4", "mkv"]))
def test_any_bytes(tmp_path_factory, content, suffix):
    path = tmp_path_factory.mktemp("files") / f"a.{suffix}"
    path.write_bytes(content)
    with pytest.raises(InputError, match="a[.]"):
        list(read_frames(path))


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """A short video of each kind, as bytes."""
    made, folder = {}, tmp_path_factory.mktemp("videos")
    for suffix in ("mp4", "mkv", "gif"):
        with write_animation(folder / f"a.{suffix}", 10) as add:
            for shade in range(0, 200, 40):
                add(Image.new("RGB", (32, 16), (shade, shade, shade)))
        made[suffix] = (folder / f"a.{suffix}").read_bytes()
    return made


@given(st.sampled_from(["mp4", "mkv", "gif"]), st.data())
def test_damaged_videos(tmp_path_factory, videos, suffix, data):
    path = tmp_path_factory.mktemp("files") / f"a.{suffix}"
    path.write_bytes(damaged(data, videos[suffix]))
    for read in (lambda: read_frames(path), lambda: ResampledFrames(path, 10)):
        try:
            for number, frame in enumerate(read()):
                assert frame is None or np.asarray(frame).shape[-1] == 3
                if number > 50:  # a damaged time may promise hours
                    break
        except InputError as error:
            assert "\n" not in str(error)


@given(st.lists(st.floats(0.001, 5), min_size=1, max_size=8), st.sampled_from([1.0, 7.5, 30.0]))
def test_resampled_rate_is_even_and_frames_are_held(durations, fps):
    times = np.cumsum([0.0, *durations]).tolist()
    shown = list(resample(map(Timed, times, times, durations), fps))
    assert len(shown) == max(1, round(times[-1] * fps)) or abs(len(shown) - times[-1] * fps) <= 1
    for k, time in enumerate(shown):
        current = max(start for start in times[:-1] if start <= k / fps)
        assert time >= current - 1e-9 and time - k / fps <= 0.5 / fps + 1e-9
