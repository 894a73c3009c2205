"""Blind votes between methods: one offline page with pairs of clips, and the count of the files that it saves.

The page holds clips under random names and nothing about methods; who made which clip is in a key beside it.
"""

from __future__ import annotations

import base64
import itertools
import json
import random
import secrets
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from ..errors import InputError
from ..files import read_json, write_text
from ..media import read_frames, write_animation
from .videos import match_videos, videos_by_name

PAGE, KEY = "vote.html", "key.json"
TEMPLATE = Path(__file__).with_name("vote_page.html")
FALLBACK_FPS, MAX_SIDE, MAX_FRAMES = 30.0, 384, 300
MAX_PAGE_BYTES = 500_000_000
Z = 1.959964  # of a normal distribution's middle 95 %


@dataclass(frozen=True)
class Choice:
    """Votes between two methods. draws: "no difference", which counts for neither."""

    one: str
    two: str
    votes_one: int
    votes_two: int
    draws: int

    @property
    def share(self) -> float:
        """Share of the first method, NaN without votes."""
        total = self.votes_one + self.votes_two
        return self.votes_one / total if total else float("nan")

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval of the share (Wilson, 1927), None without votes."""
        total = self.votes_one + self.votes_two
        if not total:
            return None
        centre = (self.share + Z**2 / (2 * total)) / (1 + Z**2 / total)
        half = Z / (1 + Z**2 / total) * (self.share * (1 - self.share) / total + Z**2 / (4 * total**2)) ** 0.5
        return centre - half, centre + half

    @property
    def p_value(self) -> float | None:
        """Of Pearson's chi-square test that both are chosen alike, as in the paper's user study; None without votes."""
        if not self.votes_one + self.votes_two:
            return None
        from scipy.stats import chisquare

        return float(chisquare([self.votes_one, self.votes_two]).pvalue)


def write_vote(methods: Mapping[str, Path], truth: Path | None, out: Path, seed: int = 0) -> Path:
    """Write the page and its key to a folder and return the page: each video, by each pair of methods, once.

    truth: videos shown as a reference above each pair. seed: of names, order and sides; they change again for each
    voter. Raises InputError if a method lacks a video or the clips are too large for a page.
    """
    if len(methods) < 2:
        raise InputError("A vote needs two methods or more: repeat --method NAME=DIR.")
    root = truth or next(iter(methods.values()))
    videos = videos_by_name(root)
    matched = {name: match_videos(folder, videos, root) for name, folder in methods.items()}
    source, clips, pairs, key, size = random.Random(seed), {}, [], {}, 0
    for video in videos:
        shown = {}
        paths = {name: found[video] for name, found in matched.items()} | ({"": videos[video]} if truth else {})
        for method, path in paths.items():
            shown[method] = f"{source.getrandbits(64):016x}"
            clips[shown[method]] = _embedded(path)
            size += len(clips[shown[method]])
            if method:
                key[shown[method]] = method
            if size > MAX_PAGE_BYTES:
                raise InputError(
                    f"The clips take more than {MAX_PAGE_BYTES / 1e6:.0f} MB in a page: give fewer or shorter videos."
                )
        for one, two in itertools.combinations(methods, 2):
            sides = [shown[one], shown[two]]
            source.shuffle(sides)
            pairs.append({"clips": sides, "reference": shown.get("")})
    source.shuffle(pairs)
    about = {"page": secrets.token_hex(8), "clips": clips, "pairs": pairs}
    # "<" cannot end the script element, whatever the data are.
    page = TEMPLATE.read_text(encoding="utf-8").replace("/*DATA*/", json.dumps(about).replace("<", "\\u003c"))
    write_text(out / PAGE, page)
    write_text(out / KEY, json.dumps({"page": about["page"], "methods": list(methods), "clips": key}, indent=1) + "\n")
    return out / PAGE


def count_votes(folder: Path, files: Sequence[Path]) -> list[Choice]:
    """Count the votes of files that the page of a folder saved; one result for each pair of methods.

    Raises InputError if a file is of another page or no file of votes.
    """
    key = read_json(folder / KEY, "the key that evaluate --vote wrote")
    try:
        page, methods, clips = key["page"], list(map(str, key["methods"])), dict(key["clips"])
    except (TypeError, KeyError, ValueError) as error:
        raise InputError(f"{folder / KEY} is no key of a vote: make the page again.") from error
    counts = {pair: [0, 0, 0] for pair in itertools.combinations(methods, 2)}
    for file in files:
        saved = read_json(file, "votes that the page saved")
        if not isinstance(saved, dict) or not isinstance(saved.get("votes"), list):
            raise InputError(f"{file} holds no votes: give files that the page saved.")
        if saved.get("page") != page:
            raise InputError(f"{file} holds votes of another page than {folder / PAGE}: count them with their own key.")
        for vote in saved["votes"]:
            _count(vote, clips, counts, file)
    return [Choice(*pair, *votes) for pair, votes in counts.items()]


def _count(vote: object, clips: Mapping[str, str], counts: dict, file: Path) -> None:
    try:
        shown = [clips[clip] for clip in vote["clips"]]  # type: ignore[index]
        chosen = vote["chosen"]  # type: ignore[index]
        pair = next(pair for pair in counts if sorted(pair) == sorted(shown))
        place = 2 if chosen is None else pair.index(clips[chosen]) if chosen in vote["clips"] else 3  # type: ignore[index]
        counts[pair][place] += 1
    except (TypeError, KeyError, IndexError, StopIteration) as error:
        raise InputError(
            f"{file} holds a vote that this page does not have: give files as the page saved them."
        ) from error


def _embedded(path: Path) -> str:
    """Return a video as the data of an animated WebP, at most MAX_SIDE pixels a side."""
    frames = read_frames(path)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "clip.webp"
        with write_animation(file, min(frames.fps or FALLBACK_FPS, FALLBACK_FPS)) as add:
            for number, frame in enumerate(frames):
                if number == MAX_FRAMES:
                    raise InputError(f"{path} has more than {MAX_FRAMES} frames: give shorter clips for a vote.")
                add(_small(frame))
        return base64.b64encode(file.read_bytes()).decode()


def _small(picture: Image.Image) -> Image.Image:
    scale = min(1.0, MAX_SIDE / max(picture.size))
    return picture if scale == 1 else picture.resize((round(picture.width * scale), round(picture.height * scale)))
