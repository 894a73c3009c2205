"""Nodes that change what a motion expresses: faces, and the time of accents."""

from .socket_values import to_image, to_sound
from .widgets import number, socket

SLIDERS = {  # pose.expression.SLIDERS, which is imported when a node runs
    "mouth_open": (-1, 1, "Opening of the mouth. -1: closes an open one."),
    "smile": (-1, 1, "Corners of the mouth. -1: down, 1: up."),
    "brows": (-1, 1, "Brows. -1: down, 1: up."),
    "blink": (0, 1, "Lids. 1: closed eyes."),
    "gaze_x": (-1, 1, "Where the eyes look. -1: to the picture's left, 1: to its right."),
    "gaze_y": (-1, 1, "Where the eyes look. -1: up, 1: down."),
    "head_tilt": (-45, 45, "Tilt of the head in degrees, clockwise in the picture."),
}
MAX_LINES = 100


class MagicDanceEditExpression:
    """Change the expression of faces."""

    SEARCH_ALIASES = ["magicdance", "expression", "face editor", "smile", "lip sync", "mouth", "blink", "gaze"]
    CATEGORY = "MagicDance/pose"
    DESCRIPTION = (
        "Adds expressions to the faces of keypoints: mouth, smile, brows, lids, gaze and tilt of the head, constant or "
        "over the frames. Optionally the mouth opens with the loudness of a sound, or the face of a picture replaces "
        "those of a video whose faces cannot be read."
    )
    RETURN_TYPES = ("POSE_KEYPOINT",)
    RETURN_NAMES = ("keypoints",)
    OUTPUT_TOOLTIPS = ("The keypoints with changed faces.",)
    FUNCTION = "edit"

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "keypoints": socket("POSE_KEYPOINT", "The people of each frame, with faces."),
                **{
                    name: number(0.0, low, high, f"{tooltip} Added to what was detected.", 1.0 if high > 1 else 0.05)
                    for name, (low, high, tooltip) in SLIDERS.items()
                },
                "schedules": (
                    "STRING",
                    {
                        "default": "",
                        "multiline": True,
                        "tooltip": "Sliders over the frames, one a line, in place of the widget: smile = 0: 0, 12: 1 "
                        "(frames and values, linear in between), or a value for each frame: smile = 0, 0.5, 1.",
                    },
                ),
                "audio_strength": number(1.0, 0.0, 2.0, "How far the loudest moment of `audio` opens the mouth."),
                "fps": number(30.0, 1.0, 240.0, "Frames per second of the keypoints, for `audio`.", 1.0),
            },
            "optional": {
                "audio": socket("AUDIO", "Its loudness opens the mouth, in addition to `mouth_open`."),
                "still_face": socket(
                    "POSE_KEYPOINT",
                    "Keypoints of a picture whose face replaces those of all frames; it moves with the head only.",
                ),
            },
        }

    def edit(
        self,
        keypoints,
        mouth_open,
        smile,
        brows,
        blink,
        gaze_x,
        gaze_y,
        head_tilt,
        schedules,
        audio_strength,
        fps,
        audio=None,
        still_face=None,
    ):
        import numpy as np

        from ..magicdance_core.media.sound_curves import loudness
        from ..magicdance_core.pose import expression, frames_from_pose_keypoint, frames_to_pose_keypoint
        from ..magicdance_core.pose.retarget import first_frame_with_people
        from ..magicdance_core.schedules import curve

        frames = frames_from_pose_keypoint(keypoints)
        values = (mouth_open, smile, brows, blink, gaze_x, gaze_y, head_tilt)
        sliders: dict = dict(zip(SLIDERS, values)) | _schedules(schedules)
        if still_face is not None:
            person = first_frame_with_people(frames_from_pose_keypoint(still_face))
            frames = expression.still_face(frames, person)
        if audio is not None:
            opening = audio_strength * loudness(*to_sound(audio, "audio"), len(frames), fps)
            opening += curve(sliders["mouth_open"], len(frames), "mouth_open", -1, 1)
            sliders["mouth_open"] = np.clip(opening, -1, 1)
        return (frames_to_pose_keypoint(expression.edit_expression(frames, sliders)),)


class MagicDanceMatchBeat:
    """Fit the accents of a motion to the beats of music."""

    SEARCH_ALIASES = ["magicdance", "beat", "music", "sync to music", "audio reactive", "rhythm", "time warp"]
    CATEGORY = "MagicDance/pose"
    DESCRIPTION = (
        "Warps the time of a motion so that its accents, the moments where it stops, fall on onsets of music: "
        "smoothly, never faster than 1.5 times, and never backwards. The number of frames stays the same."
    )
    RETURN_TYPES = ("POSE_KEYPOINT", "IMAGE")
    RETURN_NAMES = ("keypoints", "plot")
    OUTPUT_TOOLTIPS = (
        "The motion on the beat.",
        "Onsets of the music, and the speed of the motion before and after; dots are accents, lines are beats.",
    )
    FUNCTION = "match"

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "keypoints": socket("POSE_KEYPOINT", "The motion; the accents are those of the first person."),
                "audio": socket("AUDIO", "The music, from the motion's first frame on."),
                "fps": number(30.0, 1.0, 240.0, "Frames per second of the keypoints.", 1.0),
                "max_shift": number(
                    0.25, 0.0, 2.0, "How far an accent may move, in seconds; those without a beat that near stay free."
                ),
            }
        }

    def match(self, keypoints, audio, fps, max_shift):
        from ..magicdance_core.media.sound_curves import find_onsets
        from ..magicdance_core.pose import frames_from_pose_keypoint, frames_to_pose_keypoint
        from ..magicdance_core.pose.beat import match_to_beats, plot_match

        onsets = find_onsets(*to_sound(audio, "audio"))
        match = match_to_beats(frames_from_pose_keypoint(keypoints), onsets.times, fps, max_shift)
        return frames_to_pose_keypoint(match.frames), to_image([plot_match(match, onsets, fps)])


def _schedules(text: str) -> dict[str, str]:
    """Return the sliders and values of a text. Raises InputError for a line that is none."""
    from ..magicdance_core.checks import quoted
    from ..magicdance_core.errors import InputError

    found: dict[str, str] = {}
    for line in filter(None, map(str.strip, text.splitlines()[:MAX_LINES])):
        name, equals, values = line.partition("=")
        if not equals or name.strip() not in SLIDERS:
            raise InputError(
                f"`schedules` has the line {quoted(line)}: write a slider, = and values, such as smile = 0: 0, 12: 1."
            )
        found[name.strip()] = values.strip()
    return found
