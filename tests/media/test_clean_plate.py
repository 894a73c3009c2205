"""What is behind people: from other frames, guessed where no frame shows it."""

import numpy as np
import pytest

from magicdance_core.errors import InputError
from magicdance_core.media.clean_plate import clean_plate

HEIGHT, WIDTH, COUNT = 40, 64, 12


def scene(step=3, drift=0):
    """Return a picture, frames in which a white box walks over it, and the box as masks."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    place = np.stack([4 * rows, 3 * columns, 80 + 0 * rows], axis=-1).astype(np.uint8)
    frames, masks = [], []
    for k in range(COUNT):
        frame, mask = np.roll(place, drift * k, axis=1), np.zeros((HEIGHT, WIDTH), np.float32)
        mask[10:30, 5 + step * k : 15 + step * k] = 1
        frame = np.where(mask[..., None] > 0, 255, frame).astype(np.uint8)
        frames.append(frame)
        masks.append(mask)
    return place, frames, masks


def test_a_walking_person_is_removed_exactly():
    place, frames, masks = scene()
    plate = clean_plate(frames, masks, COUNT)
    assert np.array_equal(plate.picture, place) and plate.unknown == 0 and not plate.moves
    for frame, mask in zip(frames, masks):
        assert np.abs(plate.fill(frame, mask).astype(int) - place).max() <= 1


def test_what_no_frame_shows_is_guessed_and_counted():
    place, frames, masks = scene(step=0)
    plate = clean_plate(frames, masks, COUNT)
    assert plate.unknown == 1 and np.abs(plate.picture.astype(int) - place).mean() < 6
    walked = clean_plate(*scene(step=1)[1:], COUNT)
    assert 0 <= walked.unknown < 0.2


def test_light_is_matched_and_the_outside_stays_to_the_bit():
    place, frames, masks = scene()
    plate = clean_plate(frames, masks, COUNT)
    darker = (frames[4] * 0.5).astype(np.uint8)
    filled = plate.fill(darker, masks[4])
    outside = masks[4] == 0
    assert np.array_equal(filled[outside], darker[outside])
    assert np.abs(filled.astype(int) - place * 0.5)[~outside].mean() < 12
    assert plate.fill(frames[0], np.zeros((HEIGHT, WIDTH), np.float32)) is frames[0]


def test_a_moving_camera_is_told():
    assert clean_plate(*scene(drift=5)[1:], COUNT).moves and not clean_plate(*scene()[1:], COUNT).moves


def test_frames_and_masks_must_be_as_many():
    _, frames, masks = scene()
    with pytest.raises(InputError, match="5 frames with masks and 12 are needed"):
        clean_plate(frames, masks[:5], COUNT)
    with pytest.raises(InputError, match="0 frames"):
        clean_plate([], [], 3)
