"""Any number of methods against one truth: what is measured of each, how sure it is, and how they differ."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from ..errors import InputError
from ..media import read_frames
from .array_cache import ArrayCache, fingerprint
from .bootstrap import draws, interval, mean_of_all, resampled_means
from .cautions import cautions
from .faces import face_scores
from .features import CLIP, as_tensors, view_video
from .frechet import KernelSums, frechet_bias, frechet_of_features, resampled_frechet
from .scores import keypoints_as_features, pose_scores, score_frames
from .table import Cell, Column, Table
from .tools import Tools
from .videos import ONLY, find_videos, frame_pairs, match_videos

FRECHET_RESAMPLES = 100  # each takes the eigenvalues of a matrix anew

FLICKER = (Column("flicker_still", "flicker, still", 4, -1), Column("flicker_moving", "flicker, moving", 4, -1))
BY_WEIGHTS = (
    Column("pose_error", "pose error, %", 2, -1),
    Column("pose_found", "pose found", 2, +1),
    Column("lpips", "LPIPS", 3, -1),
    Column("face_cos", "Face-Cos", 3, +1),
    Column("face_found", "faces found", 2, +1),
    Column("fid", "FID", 2, -1),
    Column("kid", "KID", 4, -1),
    Column("fid_vid", "FID-VID", 2, -1),
    Column("fvd", "FVD", 2, -1),
)
CORRECT = (Column("psnr", "PSNR, dB", 2, +1), Column("ssim", "SSIM", 3, +1), Column("l1", "L1", 4, -1))
PUBLISHED = (
    Column("psnr_published", "PSNR as published, dB", 2, +1),
    Column("ssim", "SSIM", 3, +1),
    Column("l1_published", "L1 as published", 6, -1),
)
# The distances between sets of features, by the network that they need.
FRECHET = {"fid": "inception", "fid_vid": "resnet3d", "fvd": "i3d"}
Arrays = Mapping[str, np.ndarray]
Watch = Callable[[Iterable, str], Iterable]


@dataclass
class Study:
    """videos: names. scores: for each method that could be measured, a mapping a video from names to a value a frame.

    statistics, resampled: for each method and metric the value and its resamples, drawn alike for all methods.
    needs: see Tools. problems: for each method that failed the sentence that says why; warnings: of all.
    biases: about how much of FID, FID-VID and FVD is due to their number of features; clips: that number for the last.
    """

    truth: Path
    methods: dict[str, Path]
    videos: dict[str, Path]
    published: bool
    needs: dict[str, str]
    scores: dict[str, list[Arrays]] = field(default_factory=dict)
    statistics: dict[str, dict[str, float]] = field(default_factory=dict)
    resampled: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    biases: dict[str, dict[str, float]] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    clips: int = 0

    @property
    def frames(self) -> int:
        """Of all videos."""
        return sum(len(video["psnr"]) for video in next(iter(self.scores.values()), []))

    def columns(self, weights: bool) -> tuple[Column, ...]:
        """Of the chosen protocol. weights: with the metrics whose files are missing."""
        wanted = (*(PUBLISHED if self.published else CORRECT), *FLICKER, *BY_WEIGHTS)
        return tuple(c for c in wanted if weights or c.key not in self.needs)

    def table(self, weights: bool = True) -> Table:
        """All methods in the given order; one that failed has a row that says so."""
        columns = self.columns(weights)
        return Table(columns, {m: {c.key: self.cell(m, c.key) for c in columns} for m in self.methods})

    def cell(self, method: str, key: str) -> Cell:
        """The value of a metric, or why there is none."""
        if method in self.problems:
            return Cell(note="failed")
        if key in self.needs:
            return Cell(note=f"needs {self.needs[key]}")
        if key not in self.statistics[method]:
            return Cell(note=self.notes.get(key, ""))
        spread = self.resampled[method].get(key)
        return Cell(self.statistics[method][key], None if spread is None else interval(spread))

    def differences(self) -> dict[tuple[str, str], dict[str, Cell]]:
        """Each method less each later one, metric by metric, with paired intervals: both see the same videos."""
        found = {}
        names = list(self.scores)
        for i, one in enumerate(names):
            for two in names[i + 1 :]:
                both = self.statistics[one].keys() & self.statistics[two].keys()
                found[one, two] = {key: self._difference(one, two, key) for key in sorted(both)}
        return found

    def _difference(self, one: str, two: str, key: str) -> Cell:
        spreads = [self.resampled[method].get(key) for method in (one, two)]
        value = self.statistics[one][key] - self.statistics[two][key]
        return Cell(value, None if any(s is None for s in spreads) else interval(spreads[0] - spreads[1]))


def evaluate(
    truth: Path,
    methods: Mapping[str, Path],
    tools: Tools,
    kept: ArrayCache,
    published: bool = False,
    keypoints: Path | None = None,
    watch: Watch = lambda frames, _: frames,
) -> Study:
    """Measure all methods. A method that fails does not stop the others; where all fail, InputError.

    keypoints: the driving poses, a file or folder a video by their names; detected in the true frames without them.
    watch: gets the frames that are read, or resamples, and what they are of, and yields them again; shows progress.
    """
    videos = find_videos(truth)
    study = Study(truth, dict(methods), videos, published, dict(tools.needs))
    true_features = [_view(path, tools, kept, watch, f"truth {name}") for name, path in videos.items()]
    if keypoints is not None and "pose_error" not in tools.needs:
        for name, features in zip(videos, true_features):
            features["pose"] = _keypoints(keypoints, name)
    features = {}
    for method, root in methods.items():
        try:
            matched = match_videos(root, videos, truth)
            study.scores[method], features[method] = [], []
            for number, (name, path) in enumerate(matched.items()):
                label = method if name == ONLY else f"{method} {name}"
                scores = _score(path, videos[name], tools, kept, published, watch, label)
                seen = _view(path, tools, kept, watch, label)
                if "pose" in seen:
                    scores = {**scores, **pose_scores(seen["pose"], true_features[number]["pose"])}
                if "faces" in seen:
                    scores = {**scores, **face_scores(seen["faces"], true_features[number]["faces"])}
                study.scores[method].append(scores)
                features[method].append(seen)
        except InputError as error:
            study.problems[method] = str(error)
            study.scores.pop(method, None)
    if not study.scores:
        raise InputError(next(iter(study.problems.values())))
    _summarize(study, true_features, features, tools.device, watch)
    study.warnings += cautions(study)
    return study


def _score(path, truth, tools, kept, published, watch, label) -> Arrays:
    key = ["scores", fingerprint(path), fingerprint(truth), published, tools.files if tools.lpips else None]
    return kept.get(key, lambda: score_frames(watch(frame_pairs(path, truth), label), tools.lpips, published))


def _view(path, tools, kept, watch, label) -> dict[str, np.ndarray]:
    if not tools.viewers:
        return {}
    key = ["features", fingerprint(path), [viewer.name for viewer in tools.viewers], tools.files]
    key.append([getattr(viewer, "antialias", None) for viewer in tools.viewers])

    def measure() -> dict[str, np.ndarray]:
        frames = watch(read_frames(path), f"{label}, networks")
        return view_video(map(np.asarray, frames), tools.viewers)

    return dict(kept.get(key, measure))


def _keypoints(root: Path, video: str) -> np.ndarray:
    from ..pose.keypoint_files import load_keypoints

    places = [root] if video == ONLY else [root / f"{video}.npz", root / f"{video}.json", root / video]
    place = next((place for place in places if place.exists()), None)
    if place is None:
        raise InputError(f"{root} holds no keypoints of {video}; give {video}.npz, {video}.json or a folder of JSON.")
    return keypoints_as_features(load_keypoints(place))


def _summarize(study: Study, truth: list, features: dict[str, list], device: torch.device, watch: Watch) -> None:
    count = len(study.videos)
    drawn = draws(count)
    keys = [key for key in next(iter(study.scores.values()))[0] if key not in ("resized", "width", "height")]
    short = [name for name, seen in zip(study.videos, truth) if _short(seen)]
    for method, scores in study.scores.items():
        values = {key: [video[key] for video in scores] for key in keys}
        study.statistics[method] = {key: mean_of_all(videos) for key, videos in values.items()}
        study.resampled[method] = {}
        if count > 1:
            study.resampled[method] = {key: resampled_means(videos, drawn) for key, videos in values.items()}
        study.biases[method] = {}
        for key, network in FRECHET.items():
            if network not in truth[0]:
                continue
            if short and network != "inception":
                study.notes[key] = f"{short[0]} is under {CLIP} frames"
                continue
            made, true = (as_tensors(videos, network, device) for videos in (features[method], truth))
            _compare_features(study, method, key, made, true, drawn[:FRECHET_RESAMPLES], watch)
    if short:
        study.problems[""] = (
            f"{study.videos[short[0]]} has fewer than the {CLIP} frames of a clip, so there is no FID-VID or FVD; "
            "leave it out or take those weights away."
        )


def _short(seen: Arrays) -> bool:
    return any(network in seen and len(seen[network]) == 0 for network in ("resnet3d", "i3d"))


def _compare_features(
    study: Study, method: str, key: str, made: list, true: list, drawn: np.ndarray, watch: Watch
) -> None:
    whole = torch.cat(made), torch.cat(true)
    if min(map(len, whole)) < 2:
        study.notes[key] = "needs two features"
        return
    study.statistics[method][key] = frechet_of_features(*whole)
    study.biases[method][key] = frechet_bias(*whole)
    study.clips = len(whole[1]) if key != "fid" else study.clips
    if len(made) > 1:
        watched = watch(drawn, f"{method}, intervals of {key}")
        study.resampled[method][key] = resampled_frechet(made, true, watched)
    if key == "fid":
        kernels = KernelSums.of(made, true)
        study.statistics[method]["kid"] = kernels.distance()
        if len(made) > 1:
            study.resampled[method]["kid"] = np.array([kernels.distance(times) for times in drawn])


def progress(frames: Iterable, label: str) -> Iterator:
    """A bar on stderr for one video's frames, or for resamples."""
    from tqdm import tqdm

    total = len(frames) if isinstance(frames, Sized) else getattr(frames, "count", None)
    return iter(tqdm(frames, desc=label, total=total, leave=False))
