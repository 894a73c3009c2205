"""Blind votes between methods: one offline page with pairs of clips, and the count of the files that it saves.

The page holds clips under random names and nothing about methods; who made which clip is in a key beside it.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import random
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from ..errors import InputError
from ..files import read_bytes, read_json, write_text
from ..media import Frames, read_frames, write_animation
from .videos import match_videos, videos_by_name

PAGE, KEY = "vote.html", "key.json"
TEMPLATE = Path(__file__).with_name("vote_page.html")
FALLBACK_FPS, MAX_SIDE, MAX_FRAMES = 30.0, 384, 300
MAX_FPS = 60.0  # browsers slow down pictures whose frames are shorter than about 1/90 s
MAX_PAGE_BYTES = 500_000_000
Z = 1.959964  # of a normal distribution's middle 95 %
VOTER = re.compile(r"[0-9a-f]{16}", re.ASCII)  # the page's random id of a voter


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
    voter. Clips last as long as their videos; folders of pictures have the rate of the truth of that name, else of the
    first method that has one, else 30 frames per second. Raises InputError if a method lacks a video, the clips are too
    large for a page, or the folder holds the key of another page.
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
        read = {method: read_frames(path) for method, path in paths.items()}
        rates = [read[method].fps for method in ("", *methods) if method in read]
        rate = next((fps for fps in rates if fps), FALLBACK_FPS)
        for method, frames in read.items():
            shown[method] = f"{source.getrandbits(64):016x}"
            clips[shown[method]] = _embedded(frames, frames.fps or rate, paths[method])
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
    digest = hashlib.blake2b(json.dumps([clips, pairs]).encode(), digest_size=8)  # equal clips give an equal page
    about = {"page": digest.hexdigest(), "clips": clips, "pairs": pairs}
    known = json.dumps({"page": about["page"], "methods": list(methods), "clips": key}, indent=1) + "\n"
    if (out / KEY).exists() and read_bytes(out / KEY) != known.encode():
        raise InputError(
            f"{out / KEY} is of another page, whose votes could not be counted without it: give another folder."
        )
    # "<" cannot end the script element, whatever the data are.
    page = TEMPLATE.read_text(encoding="utf-8").replace("/*DATA*/", json.dumps(about).replace("<", "\\u003c"))
    write_text(out / PAGE, page)
    write_text(out / KEY, known)
    return out / PAGE


def count_votes(folder: Path, files: Sequence[Path]) -> tuple[list[Choice], list[Path]]:
    """Count the votes of files that the page of a folder saved, each voter once.

    Returns one result for each pair of methods, and the files left out: of files of one voter the one with most votes
    counts, the first of those with equally many. Files of earlier versions name no voter and all count.
    Raises InputError if a file is of another page or no file of votes.
    """
    key = read_json(folder / KEY, "the key that evaluate --vote wrote")
    try:
        page, methods, clips = key["page"], list(map(str, key["methods"])), dict(key["clips"])
    except (TypeError, KeyError, ValueError) as error:
        raise InputError(f"{folder / KEY} is no key of a vote: make the page again.") from error
    counts = {pair: [0, 0, 0] for pair in itertools.combinations(methods, 2)}
    votes_of: list[list] = []
    best: dict[str, int] = {}  # the file that counts of each voter
    left_out: set[int] = set()
    for number, file in enumerate(files):
        saved = read_json(file, "votes that the page saved")
        if not isinstance(saved, dict) or not isinstance(saved.get("votes"), list):
            raise InputError(f"{file} holds no votes: give files that the page saved.")
        if saved.get("page") != page:
            raise InputError(f"{file} holds votes of another page than {folder / PAGE}: count them with their own key.")
        votes_of.append(saved["votes"])
        if "voter" not in saved:
            continue
        voter = saved["voter"]
        if not isinstance(voter, str) or not VOTER.fullmatch(voter):
            raise InputError(f"{file} has a voter that no page made: give files as the page saved them.")
        other = best.setdefault(voter, number)
        if other != number:
            best[voter] = number if len(votes_of[number]) > len(votes_of[other]) else other
            left_out.add(other if best[voter] == number else number)
    for number, (file, votes) in enumerate(zip(files, votes_of)):
        for vote in votes if number not in left_out else ():
            _count(vote, clips, counts, file)
    choices = [Choice(*pair, *votes) for pair, votes in counts.items()]
    return choices, [file for number, file in enumerate(files) if number in left_out]


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


def _embedded(frames: Frames, fps: float, path: Path) -> str:
    """Return a video as the data of an animated WebP, at most MAX_SIDE pixels a side, MAX_FPS frames per second."""
    kept: list[Image.Image] = []
    share, total = min(1.0, MAX_FPS / fps), 0
    for frame in frames:
        if not kept or int(total * share) > int((total - 1) * share):  # even steps
            if len(kept) == MAX_FRAMES:
                raise InputError(f"{path} has more than {MAX_FRAMES} frames: give shorter clips for a vote.")
            kept.append(_small(frame))
        total += 1
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "clip.webp"
        with write_animation(file, fps * max(1, len(kept)) / max(1, total)) as add:  # as long as all frames
            for frame in kept:
                add(frame)
        return base64.b64encode(file.read_bytes()).decode()


def _small(picture: Image.Image) -> Image.Image:
    scale = min(1.0, MAX_SIDE / max(picture.size))
    return picture if scale == 1 else picture.resize((round(picture.width * scale), round(picture.height * scale)))
