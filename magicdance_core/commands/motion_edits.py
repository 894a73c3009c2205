"""Changes to extracted keypoints for `extract` and `animate`: time on the beat, still faces, expressions."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError
from ..files import existing_file
from .common import file_path

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

    from ..pose.keypoints import PoseFrame

OWN_SOUND = Path("-")  # the video's


@dataclass(frozen=True)
class Edited:
    """Keypoints after the changes; report: about the beat; plot: of it, None without."""

    frames: list[PoseFrame]
    report: dict = field(default_factory=dict)
    plot: Image.Image | None = None


def add_edit_arguments(parser: argparse.ArgumentParser | argparse._ArgumentGroup, whose: str) -> None:
    """Add the options. whose: face --still-face takes."""
    parser.add_argument(
        "--expression", action="append", default=[], type=_slider, metavar="SLIDER=VALUES",
        help="add to the faces: mouth_open, smile, brows, gaze_x, gaze_y (-1 to 1), blink (0 to 1), head_tilt "
        '(degrees); a number, or frames and values ("mouth_open=0: 0, 12: 1"); may be repeated',
    )  # fmt: skip
    parser.add_argument(
        "--mouth-audio", type=file_path, nargs="?", const=OWN_SOUND, metavar="FILE",
        help="open the mouth with the loudness of this sound, or without FILE of the video's",
    )  # fmt: skip
    parser.add_argument(
        "--still-face", action="store_true", help=f"take the face of {whose} in place of those of the video"
    )
    parser.add_argument(
        "--match-beat", type=file_path, nargs="?", const=OWN_SOUND, metavar="FILE",
        help="warp the time so that the motion's accents fall on the onsets of this music, or without FILE of the "
        "video's",
    )  # fmt: skip


def edits(options: argparse.Namespace) -> dict:
    """Return the changes that are asked for, as JSON can hold them; empty for none."""
    chosen: dict = {}
    if options.expression:
        chosen["expression"] = {name: values for name, values in options.expression}
    if options.still_face:
        chosen["still_face"] = True
    for name in ("mouth_audio", "match_beat"):
        if (path := getattr(options, name)) is not None:
            stat = None if path == OWN_SOUND else path.stat()
            chosen[name] = [str(path), stat and stat.st_size, stat and stat.st_mtime_ns]
    return chosen


def check_edits(options: argparse.Namespace, video: Path | None) -> None:
    """Raise InputError for changes that cannot be made, before anything is read. video: with its own sound, if any."""
    for name in ("mouth_audio", "match_beat"):
        path = getattr(options, name)
        if path == OWN_SOUND and video is None:
            raise InputError(f"--{name.replace('_', '-')} takes the sound of a video, and there is none: name a file.")
        if path not in (None, OWN_SOUND):
            existing_file(path)
    if twice := {name for name, _ in options.expression if [n for n, _ in options.expression].count(name) > 1}:
        raise InputError(f"--expression sets {min(twice)} twice: give it once, with frames and values.")


def edit(
    frames: Sequence[PoseFrame],
    fps: float,
    options: argparse.Namespace,
    person: PoseFrame | None = None,
    video: Path | None = None,
    start: float = 0.0,
) -> Edited:
    """Return the frames with the changes of the options.

    person: whose face --still-face takes. video: whose own sound may be used, from `start` seconds on.
    Raises InputError for what cannot be changed so.
    """
    import numpy as np

    from ..pose.expression import edit_expression, still_face

    edited, report, plot = list(frames), {}, None
    if options.match_beat is not None:
        edited, report, plot = _on_the_beat(edited, fps, _sound(options.match_beat, video, start))
    if options.still_face:
        if person is None:
            raise InputError("--still-face needs a person whose face it takes: give --retarget.")
        edited = still_face(edited, person)
    sliders: dict = dict(options.expression)
    if options.mouth_audio is not None:
        from ..media.sound_curves import loudness
        from ..schedules import curve

        opening = loudness(*_sound(options.mouth_audio, video, start), len(edited), fps)
        opening = opening + curve(sliders.get("mouth_open", 0.0), len(edited), "mouth_open", -1, 1)
        sliders["mouth_open"] = np.clip(opening, -1, 1)
    return Edited(edit_expression(edited, sliders) if sliders else edited, report, plot)


def _on_the_beat(
    frames: list[PoseFrame], fps: float, sound: tuple[np.ndarray, int]
) -> tuple[list[PoseFrame], dict, Image.Image]:
    from ..media.sound_curves import find_onsets
    from ..pose.beat import match_to_beats, plot_match

    onsets = find_onsets(*sound)
    match = match_to_beats(frames, onsets.times, fps)
    before, after = match.distances
    report = {
        "beats": len(match.beats),
        "accents": len(match.accents),
        "distance_before": round(before, 4),
        "distance_after": round(after, 4),
    }
    print(f"{len(match.accents)} accents, {len(match.beats)} beats: {before:.3f} s apart before, {after:.3f} s after")
    return match.frames, {"beat": report}, plot_match(match, onsets, fps)


def _sound(path: Path, video: Path | None, start: float) -> tuple[np.ndarray, int]:
    """Return the samples [channels, n] and the rate of a file, or of the video from `start` seconds on."""
    from ..media.audio import read_audio

    source = video if path == OWN_SOUND else path
    assert source is not None
    sound = read_audio(source)
    if sound is None:
        raise InputError(f"{source} has no sound: give a file that has.")
    samples, rate = sound
    return (samples[:, round(start * rate) :], rate) if path == OWN_SOUND else sound


def _slider(text: str) -> tuple[str, str]:
    from ..pose.expression import SLIDERS
    from ..schedules import curve

    name, equals, values = text.partition("=")
    try:
        if not equals or name not in SLIDERS:
            raise InputError(f"{text} is no SLIDER=VALUES with one of {', '.join(SLIDERS)}.")
        curve(values, 1, name, SLIDERS[name].low, SLIDERS[name].high)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error).rstrip(".")) from None
    return name, values
