"""Any number of methods against one truth: values, their intervals, and the differences between methods."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from ..checks import printable
from ..data.layouts import read_caption
from ..errors import InputError
from ..media import read_frames
from ..media.pictures import open_picture
from ..pose.keypoint_files import load_keypoints
from .bootstrap import draw_counts, interval, mean_of_all, resampled_means
from .face_similarity import face_scores
from .features import CLIP, as_tensors, extract_features
from .frechet import KernelSums, frechet_bias, frechet_of_features, resampled_frechet
from .metric_networks import MetricNetworks
from .motion_smoothness import WINDOW, smoothness_of_frames
from .picture_embedders import clip_score, consistency, inception_score
from .published_rows import KEYS, NAMES, published_cells
from .result_cache import ResultCache, fingerprint
from .scores import PIXEL_SCORES, body_points, pose_scores, score_frames
from .table import Cell, Column, Table
from .videos import ONLY, frame_pairs, match_videos, videos_by_name

FEW_VIDEOS = 5  # intervals of fewer get a warning
FRECHET_RESAMPLES = 100  # each takes the eigenvalues of another matrix

FLICKER = (Column("flicker_still", "flicker, still", 4, -1), Column("flicker_moving", "flicker, moving", 4, -1))
BY_WEIGHTS = (
    Column("pose_error", "pose error, %", 2, -1),
    Column("pose_found", "pose found", 2, +1),
    Column("lpips", "LPIPS", 3, -1),
    Column("face_cos", "Face-Cos", 3, +1),
    Column("face_found", "faces found", 2, +1),
    Column("face_cos_adaface", "Face-Cos, AdaFace", 3, +1),
    Column("fid", "FID", 2, -1),
    Column("kid", "KID", 4, -1),
    Column("inception_score", "Inception Score", 2, +1),
    Column("fid_vid", "FID-VID", 2, -1),
    Column("fvd", "FVD", 2, -1),
    Column("cd_fvd", "content-debiased FVD", 2, -1),
    Column("fvmd", "FVMD", 1, -1),
    Column("clip_score", "CLIP score", 2, +1),
    Column("subject_consistency", "subject consistency", 3, +1),
    Column("background_consistency", "background consistency", 3, +1),
    Column("motion_smoothness", "motion smoothness", 4, +1),
)
CORRECT = (Column("psnr", "PSNR, dB", 2, +1), Column("ssim", "SSIM", 3, +1), Column("l1", "L1", 4, -1))
PUBLISHED = (
    Column("psnr_published", "PSNR as published, dB", 2, +1),
    Column("ssim", "SSIM", 3, +1),
    Column("l1_published", "L1 as published", 6, -1),
)
FRECHET = {"fid": "inception", "fid_vid": "resnet3d", "fvd": "i3d", "cd_fvd": "videomae", "fvmd": "pips"}
"""Key of a Frechet distance -> the network whose features it compares."""
Arrays = Mapping[str, np.ndarray]
Track = Callable[[Iterable, str], Iterable]


@dataclass
class MethodComparison:
    """Measurements of several methods against one truth.

    truth, methods: where they are. videos: name -> path of each true video. needs: see MetricNetworks.
    scores: for each method that could be measured, for each video, metric -> a value a frame.
    statistics, resampled: for each method, metric -> value, and its values in resamples, which all methods share.
    notes: for each metric without a value, why. biases: for each method, Frechet distance -> about how much of it is
    due to the number of features; clips: that number for FID-VID and FVD. hashes: see MetricNetworks. with_paper: the
    table also has the rows of the paper's Table 1, see `published_rows`.
    problems: for each method that failed, why; under "", why some metric has no value. warnings: for all methods.
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
    hashes: dict[str, str] = field(default_factory=dict)
    with_paper: bool = False

    @property
    def frames(self) -> int:
        """Number of frames of all videos."""
        return sum(len(video["psnr"]) for video in next(iter(self.scores.values()), []))

    def columns(self, weights: bool) -> tuple[Column, ...]:
        """Return the columns of the chosen protocol. weights: with the metrics whose files are missing."""
        wanted = (*(PUBLISHED if self.published else CORRECT), *FLICKER, *BY_WEIGHTS)
        return tuple(c for c in wanted if weights or c.key not in self.needs)

    def table(self, weights: bool = True) -> Table:
        """Return a row a method, in the given order; the row of one that failed says so."""
        quoted = KEYS if self.with_paper else ()
        columns = tuple(c for c in self.columns(True) if weights or c.key not in self.needs or c.key in quoted)
        rows = {m: {c.key: self.cell(m, c.key) for c in columns} for m in self.methods}
        if not self.with_paper:
            return Table(columns, rows)
        return Table(columns, rows | published_cells(columns, self.published), NAMES)

    def cell(self, method: str, key: str) -> Cell:
        """Return the value of a metric, or a note that says why there is none."""
        if method in self.problems:
            return Cell(note="failed")
        if key in self.needs:
            return Cell(note=f"needs {self.needs[key]}")
        if key not in self.statistics[method]:
            return Cell(note=self.notes.get(key, ""))
        spread = self.resampled[method].get(key)
        known = None if spread is None else interval(spread)
        return Cell(self.statistics[method][key], known, self.notes.get(key, ""))

    def differences(self) -> dict[tuple[str, str], dict[str, Cell]]:
        """Return each method less each later one, metric by metric, with intervals from shared resamples."""
        found = {}
        names = list(self.scores)
        for i, one in enumerate(names):
            for two in names[i + 1 :]:
                shared = self.statistics[one].keys() & self.statistics[two].keys()
                found[one, two] = {key: self._difference(one, two, key) for key in sorted(shared)}
        return found

    def _difference(self, one: str, two: str, key: str) -> Cell:
        value = self.statistics[one][key] - self.statistics[two][key]
        spread_one, spread_two = (self.resampled[method].get(key) for method in (one, two))
        if spread_one is None or spread_two is None:
            return Cell(value)
        return Cell(value, interval(spread_one - spread_two))


@dataclass(frozen=True)
class _Measurement:
    """Scores and features of single videos, cached."""

    networks: MetricNetworks
    cache: ResultCache
    published: bool
    track: Track

    def scores(self, path: Path, truth: Path, label: str) -> Arrays:
        lpips = self.networks.lpips
        key = ["scores", fingerprint(path), fingerprint(truth), self.published, self.networks.files if lpips else None]
        names = (*PIXEL_SCORES, "resized", "width", "height", *(("lpips",) if lpips else ()))

        def measure() -> dict[str, np.ndarray]:
            return score_frames(self.track(frame_pairs(path, truth), label), lpips, self.published)

        return self.cache.get(key, measure, names)

    def features(self, path: Path, label: str) -> dict[str, np.ndarray]:
        extractors = self.networks.extractors
        if not extractors:
            return {}
        key = ["features", fingerprint(path), [extractor.name for extractor in extractors], self.networks.files]
        key.append([getattr(extractor, "antialias", None) for extractor in extractors])

        def measure() -> dict[str, np.ndarray]:
            frames = self.track(read_frames(path), f"{label}, networks")
            return extract_features(map(np.asarray, frames), extractors)

        return dict(self.cache.get(key, measure, [extractor.name for extractor in extractors]))


def compare_methods(
    truth: Path,
    methods: Mapping[str, Path],
    networks: MetricNetworks,
    cache: ResultCache,
    published: bool = False,
    keypoints: Path | None = None,
    track: Track = lambda frames, _: frames,
) -> MethodComparison:
    """Measure all methods. One that fails does not stop the others.

    keypoints: the driving poses, a file or folder a video by their names; detected in the true frames without them.
    track: gets frames or resamples and a label, and yields them again, to show progress.
    Raises InputError if all methods fail.
    """
    videos = videos_by_name(truth)
    comparison = MethodComparison(
        truth, dict(methods), videos, published, dict(networks.needs), hashes=dict(networks.hashes)
    )
    measurement = _Measurement(networks, cache, published, track)
    true_features = [measurement.features(path, f"truth {name}") for name, path in videos.items()]
    if keypoints is not None and "pose_error" not in networks.needs:
        for name, of_video in zip(videos, true_features):
            of_video["pose"] = _known_poses(keypoints, name)
    captions = _captions(videos, networks)
    if networks.caption is not None and not captions:
        comparison.notes["clip_score"] = "no captions"
    features: dict[str, list[Arrays]] = {}
    for method, root in methods.items():
        try:
            matched = match_videos(root, videos, truth)
            scores: list[Arrays] = []
            features[method] = []
            for (name, path), true in zip(matched.items(), true_features):
                label = method if name == ONLY else f"{method} {name}"
                of_video = dict(measurement.scores(path, videos[name], label))
                found = measurement.features(path, label)
                if "pose" in found:
                    of_video |= pose_scores(found["pose"], true["pose"])
                if "faces" in found:
                    of_video |= face_scores(found["faces"], true["faces"])
                of_video |= _embedding_scores(found, true, captions.get(name))
                if "amt" in found:
                    of_video["motion_smoothness"] = smoothness_of_frames(found["amt"], len(of_video["psnr"]))
                scores.append(of_video)
                features[method].append(found)
            comparison.scores[method] = scores
        except InputError as error:
            comparison.problems[method] = str(error)
    if not comparison.scores:
        raise InputError(next(iter(comparison.problems.values())))
    _summarize(comparison, true_features, features, networks, track)
    comparison.warnings += _warnings(comparison)
    return comparison


def _captions(videos: Mapping[str, Path], networks: MetricNetworks) -> dict[str, np.ndarray]:
    """Return CLIP's vectors of the captions, NAME.txt beside the true videos, by the videos' names."""
    if networks.caption is None:
        return {}
    texts = {name: read_caption(path) for name, path in videos.items()}
    return {name: networks.caption(text) for name, text in texts.items() if text}


def _embedding_scores(found: Arrays, true: Arrays, caption: np.ndarray | None) -> dict[str, np.ndarray]:
    """Return what is measured with vectors of single frames; a video without a caption has no CLIP score."""
    scores = {}
    if "faces_adaface" in found:
        scores["face_cos_adaface"] = face_scores(found["faces_adaface"], true["faces_adaface"])["face_cos"]
    if "dino" in found:
        scores["subject_consistency"] = consistency(found["dino"])
    if "clip" in found:
        scores["background_consistency"] = consistency(found["clip"])
        empty = np.full(len(found["clip"]), np.nan)
        scores["clip_score"] = empty if caption is None else clip_score(found["clip"], caption)
    return scores


def _known_poses(root: Path, video: str) -> np.ndarray:
    """Return the keypoints of a video's file in the form of a detector's: float32 [F, 18, 3]."""
    paths = [root] if video == ONLY else [root / f"{video}.npz", root / f"{video}.json", root / video]
    path = next((path for path in paths if path.exists()), None)
    if path is None:
        raise InputError(f"{root} holds no keypoints of {video}; give {video}.npz, {video}.json or a folder of JSON.")
    return np.stack([body_points(frame) for frame in load_keypoints(path)])


def _summarize(
    comparison: MethodComparison,
    true: Sequence[Arrays],
    features: dict[str, list],
    networks: MetricNetworks,
    track: Track,
) -> None:
    device = networks.device
    count = len(comparison.videos)
    drawn = draw_counts(count)
    short = [name for name, found in zip(comparison.videos, true) if _too_short(found)]
    still = [name for name, found in zip(comparison.videos, true) if "amt" in found and not len(found["amt"])]
    left_out = {"resized", "width", "height"} | ({"motion_smoothness"} if still else set())
    keys = [key for key in next(iter(comparison.scores.values()))[0] if key not in left_out]
    if still:
        comparison.notes["motion_smoothness"] = f"{still[0]} is under {WINDOW} frames"
    for method, scores in comparison.scores.items():
        values = {key: [video[key] for video in scores] for key in keys}
        comparison.statistics[method] = {key: mean_of_all(videos) for key, videos in values.items()}
        comparison.resampled[method] = {}
        if count > 1:
            comparison.resampled[method] = {key: resampled_means(videos, drawn) for key, videos in values.items()}
        comparison.biases[method] = {}
        for key, network in FRECHET.items():
            if network not in true[0]:
                continue
            if short and network != "inception":
                comparison.notes[key] = f"{short[0]} is under {CLIP} frames"
                continue
            sets = tuple(as_tensors(videos, network, device) for videos in (features[method], true))
            _compare_features(comparison, method, key, sets, drawn[:FRECHET_RESAMPLES], track)
        if networks.classifier is not None and "inception" in true[0]:
            _add_inception_score(comparison, method, features[method], networks.classifier, drawn[:FRECHET_RESAMPLES])
    problems = []
    if short:
        problems.append(
            f"{comparison.videos[short[0]]} has fewer than the {CLIP} frames of a clip, so there is no FID-VID, FVD or "
            "FVMD; leave it out or take those weights away."
        )
    if still:
        problems.append(
            f"{comparison.videos[still[0]]} has fewer than {WINDOW} frames, so there is no motion smoothness; leave it "
            "out or take amt-s.pth away."
        )
    if problems:
        comparison.problems[""] = " ".join(problems)


def _add_inception_score(
    comparison: MethodComparison, method: str, videos: Sequence[Arrays], classifier: torch.Tensor, drawn: np.ndarray
) -> None:
    parts = as_tensors(videos, "inception", torch.device("cpu"))
    probabilities = (torch.cat(parts) @ classifier.cpu().T).double().softmax(1)
    comparison.statistics[method]["inception_score"] = inception_score(probabilities)
    if len(parts) > 1:
        sizes = torch.tensor([len(part) for part in parts])
        rows = (torch.from_numpy(times).repeat_interleave(sizes) for times in drawn)
        comparison.resampled[method]["inception_score"] = np.array([inception_score(probabilities, w) for w in rows])


def _too_short(features: Arrays) -> bool:
    """Return whether a video has no clip for some network."""
    of_clips = set(FRECHET.values()) - {"inception"}
    return any(network in features and len(features[network]) == 0 for network in of_clips)


def _compare_features(
    comparison: MethodComparison, method: str, key: str, sets: tuple, drawn: np.ndarray, track: Track
) -> None:
    """Compute the distances of two sets of features, (generated, true), each a tensor a video."""
    made, true = sets
    whole = torch.cat(made), torch.cat(true)
    if min(map(len, whole)) < 2:
        comparison.notes[key] = "needs two features"
        return
    statistics, resampled = comparison.statistics[method], comparison.resampled[method]
    statistics[key] = frechet_of_features(*whole)
    comparison.biases[method][key] = frechet_bias(*whole)
    if key != "fid":
        comparison.clips = len(whole[1])
    if len(made) > 1:
        resampled[key] = resampled_frechet(made, true, track(drawn, f"{method}, intervals of {key}"))
    if key == "fid":
        kernels = KernelSums.of(made, true)
        statistics["kid"] = kernels.distance()
        if len(made) > 1:
            resampled["kid"] = np.array([kernels.distance(times) for times in drawn])


def show_progress(frames: Iterable, label: str) -> Iterator:
    """Show a bar on stderr for one video's frames, or for resamples."""
    total = len(frames) if isinstance(frames, Sized) else getattr(frames, "count", None)
    return iter(tqdm(frames, desc=printable(label), total=total, leave=False))


def _warnings(comparison: MethodComparison) -> list[str]:
    """Return a sentence for each reason to read the table with care."""
    warnings = []
    first = next(iter(comparison.scores.values()))
    sizes = sorted({size for video in first for size in zip(video["width"].astype(int), video["height"].astype(int))})
    if len(sizes) > 1:
        listed = ", ".join(f"{width} x {height}" for width, height in sizes)
        warnings.append(f"The truth has several resolutions ({listed}): L1 as published compares only within one.")
    for method, scores in comparison.scores.items():
        if resized := int(sum(video["resized"].sum() for video in scores)):
            warnings.append(f"{resized} frames of {method} had another size than the truth and were resized.")
    if suspicion := _reconstruction_warning(comparison.truth, comparison.videos):
        warnings.append(suspicion)
    if 1 < (count := len(comparison.videos)) < FEW_VIDEOS:
        warnings.append(f"Intervals from {count} videos are rough: true ones are likely wider.")
    return warnings


def _reconstruction_warning(truth: Path, videos: Mapping[str, Path]) -> str | None:
    """Return a warning if the truth looks like the published test script's gt_images: reconstructions by its VAE."""
    for path in (truth.absolute(), *videos.values()):
        if "gt_images" in path.parts:
            return (
                f"{path} looks like the output of the published test script: reconstructions by the VAE, which flatter "
                "every method that shares it. Compare with the real frames."
            )
    folder = next((path for path in videos.values() if path.is_dir()), None)
    pictures = sorted(file for file in folder.iterdir() if file.is_file())[:1] if folder else []
    if pictures and pictures[0].suffix.lower() in (".jpg", ".jpeg"):
        with open_picture(pictures[0]) as picture:
            if picture.size == (512, 512):
                return (
                    "The truth is JPEG of 512 x 512, as the published test script writes its VAE's reconstructions; "
                    "if it is that, every method that shares the VAE is flattered."
                )
    return None
