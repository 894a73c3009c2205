"""Edit Expression and Match to Beat, called as ComfyUI calls them."""

import numpy as np
import pytest
import torch
from media.test_sound_curves import RATE, clicks

FPS, FRAMES = 30.0, 120


@pytest.fixture
def keypoints(core):
    puppets, pose = core("puppets"), core("pose")
    person, dance = puppets.Identity.from_seed(2, "test"), puppets.Choreography.from_seed(2, "test")
    return pose.frames_to_pose_keypoint(puppets.puppet_clip(person, dance, range(FRAMES), 256))


@pytest.fixture
def faces(core):
    """Return a function from POSE_KEYPOINT to the faces, `[F, 70, 3]`."""
    pose = core("pose")
    return lambda given: np.stack([f.people[0].face for f in pose.frames_from_pose_keypoint(given, threshold=0.0)])


@pytest.fixture
def edit(node, core, keypoints):
    sliders = dict.fromkeys(core("pose.expression").SLIDERS, 0.0)
    rest = {"schedules": "", "audio_strength": 1.0, "fps": FPS}
    return lambda **changes: node("EditExpression").edit(**{"keypoints": keypoints} | sliders | rest | changes)[0]


def audio(times, seconds=FRAMES / FPS):
    return {"waveform": torch.from_numpy(clicks(times, seconds)).float()[None], "sample_rate": RATE}


def gaps(face):
    return face[:, 66, 1] - face[:, 62, 1]


def test_widgets_are_the_sliders_of_the_core(pack, core):
    widgets, sliders = (
        pack.NODE_CLASS_MAPPINGS["MagicDanceEditExpression"].INPUT_TYPES(),
        core("pose.expression").SLIDERS,
    )
    for name, slider in sliders.items():
        options = widgets["required"][name][1]
        assert (options["min"], options["max"], options["default"]) == (slider.low, slider.high, 0)


def test_sliders_and_schedules(edit, faces, keypoints):
    before = faces(keypoints)
    assert np.allclose(faces(edit()), before, atol=1e-3)
    assert (gaps(faces(edit(mouth_open=0.8))) > gaps(before) + 3).all()
    rising = gaps(faces(edit(mouth_open=0.1, schedules="mouth_open = 0: 0, 60: 0.8\n\n blink=0.5"))) - gaps(before)
    assert abs(rising[0]) < 0.01 and rising[60:].min() > 3
    assert (np.diff(rising[:60:10]) > 0).all()


def test_the_mouth_follows_the_sound_and_faces_can_be_still(edit, faces, core, keypoints):
    puppets, pose = core("puppets"), core("pose")
    person = puppets.Identity.from_seed(2, "test")
    closed = pose.frames_to_pose_keypoint([puppets.puppet_keypoints(person, puppets.BodyPose(), 256)])
    still = faces(edit(still_face=closed))
    assert gaps(still).max() < 1
    opened = gaps(faces(edit(still_face=closed, audio=audio([1.0, 2.0]))))
    assert opened[[30, 60]].min() > opened[[10, 45, 90]].max() + 2
    less = gaps(faces(edit(still_face=closed, audio=audio([1.0, 2.0]), audio_strength=0.5)))
    assert (less <= opened + 1e-3).all() and less[30] < opened[30] - 1


def test_match_to_beat(node, core, keypoints):
    given = audio(np.arange(0.3, 4, 0.57))
    matched, plot = node("MatchBeat").match(keypoints, given, FPS, 0.25)
    assert len(matched) == FRAMES and plot.shape == (1, 464, 1200, 3)
    unchanged, _ = node("MatchBeat").match(keypoints, given, FPS, 0.0)
    beat, pose = core("pose.beat"), core("pose")

    def distance(given):
        speed = beat.motion_speed(pose.frames_from_pose_keypoint(given, threshold=0.0), FPS)
        return np.abs(beat.find_accents(speed, FPS)[:, None] - np.arange(0.3, 4, 0.57)).min(axis=1).mean()

    assert distance(matched) < distance(unchanged)


def test_bad_input_is_named(edit, node, keypoints):
    silent = {"waveform": torch.zeros(1, 2, RATE), "sample_rate": RATE}
    for change, message in (
        ({"smile": 1.5}, "`smile` is 1.5: give -1 to 1"),
        ({"schedules": "grin = 1"}, "`schedules` has the line 'grin = 1': write a slider"),
        ({"schedules": "smile = 0: 2"}, "smile at frame 0 is 2.0: give -1 to 1"),
        ({"audio": silent}, "The audio is silent"),
        ({"audio": "sound"}, "`audio` is not an AUDIO"),
        ({"audio_strength": -1.0}, "`audio_strength` is -1.0"),
        ({"still_face": [{"people": [], "canvas_width": 8, "canvas_height": 8}]}, "shows nobody"),
    ):
        with pytest.raises(ValueError, match=message):
            edit(**change)
    for change, message in (
        ({"audio": silent}, "The audio is silent"),
        ({"keypoints": keypoints[:1] * 60}, "no accents"),
        ({"max_shift": 3.0}, "`max_shift` is 3.0: give 0 to 2"),
    ):
        with pytest.raises(ValueError, match=message):
            node("MatchBeat").match(
                **{"keypoints": keypoints, "audio": audio([0.5, 1.0]), "fps": FPS, "max_shift": 0.2} | change
            )
