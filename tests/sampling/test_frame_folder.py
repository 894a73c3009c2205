"""States, settings and locks in a folder of frames that no run has written."""

import json

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from magicdance_core.errors import InputError
from magicdance_core.sampling.frame_folder import LOCK, METADATA, SETTINGS, STATE, FrameFolder, _checksum

RUN, TENSORS = {"seed": 1}, {"latent": torch.zeros(1, 4, 2, 2)}


@pytest.fixture
def folder(tmp_path):
    """A folder with two frames, its settings, and a function that stores a state with a valid checksum."""
    for number in range(2):
        Image.new("RGB", (4, 4)).save(tmp_path / f"{number:05d}.png")
    (tmp_path / SETTINGS).write_text(json.dumps(RUN))
    return tmp_path


def load(folder, made):
    stored = {"made": made, "checksum": _checksum(TENSORS, made, RUN)}
    save_file(TENSORS, folder / STATE, {METADATA: json.dumps(stored)})
    with FrameFolder(folder, RUN) as opened:
        return opened.state()


def test_a_state_of_the_frames_that_are_there_is_taken(folder):
    state, made = load(folder, 2)
    assert made == 2 and torch.equal(state["latent"], TENSORS["latent"])


@pytest.mark.parametrize("made", [-1, 0, 10**9, 10**12, 2.5, "2", None, True, [2]])
def test_a_number_of_frames_that_no_run_has_made_is_not_taken(folder, made, caplog):
    assert load(folder, made) == (None, 0)
    assert "is damaged or of another run: the run starts again at frame 0" in caplog.text


@pytest.mark.parametrize(
    "text", ['{"seed": "\\u001b[2J"}', '{"seed": 1, "\\u001b[2J": 2}', '{"seed": "%s"}' % ("x" * 9999)]
)
def test_settings_of_others_are_shown_escaped_and_short(folder, text):
    (folder / SETTINGS).write_text(text)
    with pytest.raises(InputError, match="was begun with") as caught, FrameFolder(folder, RUN):
        pass
    assert str(caught.value).isprintable() and len(str(caught.value)) < 1000


@pytest.mark.parametrize("make", [lambda lock: lock.mkdir(), lambda lock: lock.symlink_to("elsewhere")])
def test_a_lock_that_is_no_file_is_told(folder, make):
    make(folder / LOCK)
    with pytest.raises(InputError, match=r"\.lock cannot be locked \(.*\): remove it"), FrameFolder(folder, RUN):
        pass
    assert not (folder / "elsewhere").exists()
