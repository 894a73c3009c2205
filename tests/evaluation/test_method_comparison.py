"""Many methods against one truth: values, intervals, differences, failures, and resuming."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from magicdance_core import media
from magicdance_core.errors import InputError
from magicdance_core.evaluation import comparison_page, method_comparison
from magicdance_core.evaluation.bootstrap import mean_of_all
from magicdance_core.evaluation.features import KINETICS_MEAN, ClipExtractor
from magicdance_core.evaluation.frechet import frechet_of_features
from magicdance_core.evaluation.method_comparison import compare_methods
from magicdance_core.evaluation.metric_networks import MetricNetworks, load_metric_networks
from magicdance_core.evaluation.result_cache import ResultCache
from magicdance_core.evaluation.video_networks import ResNet3D

CPU = torch.device("cpu")
NAMES = ("a", "b", "c")


@pytest.fixture
def roots(tmp_path, write_videos, square):
    def videos(noise, frames=18):
        return {name: square(frames, seed, noise) for seed, name in enumerate(NAMES)}

    return {
        "truth": write_videos(tmp_path / "truth", videos(0)),
        "good": write_videos(tmp_path / "good", videos(4)),
        "bad": write_videos(tmp_path / "bad", videos(40)),
    }


@pytest.fixture
def clips():
    """A clip network of random weights."""
    torch.manual_seed(0)
    network = ClipExtractor("resnet3d", ResNet3D(4, (1, 1, 1, 1)).eval(), 16, KINETICS_MEAN, 50.0, CPU)
    networks = load_metric_networks(None, CPU)
    networks.extractors.append(network)
    del networks.needs["fid_vid"]
    return networks


def _prepared(video, networks):
    return np.stack([networks.extractors[0].prepare(np.asarray(frame)) for frame in video])


def run(roots, networks=None, folder=None, methods=("good", "bad"), **more):
    return compare_methods(
        roots["truth"],
        {m: roots[m] for m in methods},
        networks or load_metric_networks(None, CPU),
        ResultCache(folder),
        **more,
    )


def test_values_have_intervals_and_differences_are_paired(roots):
    result = run(roots)
    assert (len(result.videos), result.frames, result.problems) == (3, 54, {})
    good, bad = (result.cell(method, "psnr") for method in ("good", "bad"))
    assert good.value == pytest.approx(mean_of_all([video["psnr"] for video in result.scores["good"]]))
    assert good.value > bad.value + 10 and good.interval[0] <= good.value <= good.interval[1]
    difference = result.differences()["good", "bad"]["psnr"]
    assert difference.value == pytest.approx(good.value - bad.value)
    # Both see the same videos, so what they share falls out: narrower than the two intervals together.
    width = [interval[1] - interval[0] for interval in (difference.interval, good.interval, bad.interval)]
    assert width[0] < width[1] + width[2]
    assert result.cell("good", "flicker_still").value < result.cell("bad", "flicker_still").value


def test_clip_distances_are_those_of_the_features(roots, clips):
    result = run(roots, clips)

    def clips_of(method):
        frames = (media.read_frames(roots[method] / name) for name in NAMES)
        return torch.from_numpy(
            np.concatenate([clips.extractors[0].extract(_prepared(video, clips)) for video in frames])
        )

    made, true = clips_of("bad"), clips_of("truth")
    cell = result.cell("bad", "fid_vid")
    assert result.clips == 9 and cell.value == pytest.approx(frechet_of_features(made, true), rel=1e-6)
    assert result.cell("good", "fid_vid").value < cell.value and cell.interval[0] < cell.interval[1]
    assert np.isfinite(result.biases["bad"]["fid_vid"])
    itself = compare_methods(roots["truth"], {"itself": roots["truth"]}, clips, ResultCache(None))
    assert itself.cell("itself", "fid_vid").value == pytest.approx(0, abs=1e-3)


def test_a_failing_method_leaves_the_others(roots, tmp_path):
    (roots["bad"] / "b" / "0003.png").unlink()
    result = run(roots)
    assert list(result.scores) == ["good"] and "lacks 1 of the frames" in result.problems["bad"]
    assert result.cell("bad", "psnr").note == "failed" and result.cell("good", "psnr").known
    with pytest.raises(InputError, match="lacks 1 of the frames"):
        run(roots, methods=("bad",))


def test_a_video_without_a_clip(roots, clips):
    for root in roots.values():
        for number in range(10, 18):
            (root / "b" / f"{number:04d}.png").unlink()
    result = run(roots, clips)
    assert result.cell("good", "fid_vid").note == "b is under 16 frames" and result.cell("good", "psnr").known
    assert "fewer than the 16 frames" in result.problems[""]


def test_missing_files_are_named_in_their_cells(roots):
    result = run(roots)
    assert result.cell("good", "lpips").text(3) == "needs vgg16-397923af.pth"
    assert "lpips" in {c.key for c in result.columns(True)} and "lpips" not in {c.key for c in result.columns(False)}


def test_the_published_protocol_shows_the_published_forms(roots):
    keys = [c.key for c in run(roots, published=True).columns(False)]
    assert keys[:3] == ["psnr_published", "ssim", "l1_published"]


def test_given_keypoints_replace_detected_ones(roots, tmp_path):
    from magicdance_core.evaluation.scores import PoseExtractor
    from magicdance_core.pose.keypoint_files import save_keypoints
    from magicdance_core.pose.keypoints import Person, PoseFrame

    def at(x):
        return Person(body=np.tile(np.array([x, 8, 1], np.float32), (18, 1)))

    class Detector:
        def detect(self, picture):
            return (at(4.0),)

    networks = load_metric_networks(None, CPU)
    networks.extractors.append(PoseExtractor(Detector()))
    networks.needs.clear()
    for name in NAMES:
        save_keypoints(tmp_path / "poses" / f"{name}.npz", [PoseFrame((at(12.0),), 24, 16)] * 18)
    assert run(roots, networks, keypoints=tmp_path / "poses").cell("good", "pose_error").value == pytest.approx(50)
    assert run(roots, networks).cell("good", "pose_error").value == 0
    (tmp_path / "poses" / "b.npz").unlink()
    with pytest.raises(InputError, match="holds no keypoints of b"):
        run(roots, networks, keypoints=tmp_path / "poses")


def test_a_second_run_measures_nothing_again(roots, clips, tmp_path, monkeypatch):
    first = run(roots, clips, tmp_path / "folder")
    calls = []
    monkeypatch.setattr(method_comparison, "score_frames", lambda *a: calls.append(a))
    monkeypatch.setattr(method_comparison, "extract_features", lambda *a: calls.append(a))
    second = run(roots, clips, tmp_path / "folder")
    assert not calls and comparison_page.comparison_data(first) == comparison_page.comparison_data(second)


def test_changed_files_are_measured_again(roots, tmp_path):
    before = run(roots, folder=tmp_path / "folder").cell("bad", "psnr").value
    for path in (roots["good"] / "a").iterdir():
        (roots["bad"] / "a" / path.name).write_bytes(path.read_bytes())
    assert run(roots, folder=tmp_path / "folder").cell("bad", "psnr").value > before
    for file in (tmp_path / "folder").iterdir():
        file.write_bytes(b"damaged")
    assert run(roots, folder=tmp_path / "folder").cell("bad", "psnr").value > before


def test_suspicious_truth_and_few_videos_give_warnings(tmp_path, write_videos, square):
    truth = write_videos(tmp_path / "gt_images", {"a": square(2), "b": square(2, size=(32, 16))})
    made = write_videos(tmp_path / "made", {"a": square(2, size=(12, 8)), "b": square(2, size=(32, 16))})
    result = compare_methods(truth, {"made": made}, load_metric_networks(None, CPU), ResultCache(None), published=True)
    text = " ".join(result.warnings)
    assert "several resolutions (24 x 16, 32 x 16)" in text and "2 frames of made had another size" in text
    assert "reconstructions by the VAE" in text and "Intervals from 2 videos" in text


def test_all_files_of_a_page_are_written(roots, clips, tmp_path):
    pytest.importorskip("matplotlib")
    result = run(roots, clips)
    result.problems["gone & lost"], result.methods["gone & lost"] = "is <away>", Path("gone")
    comparison_page.write_page(result, tmp_path / "out")
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["methods"]["good"]["psnr_published"] and report["methods"]["good"]["intervals"]["l1_published"]
    assert report["differences"]["good - bad"]["psnr"] > 10 and report["small_sample_bias"]["bad"]["fid_vid"]
    rows = list(csv.DictReader((tmp_path / "out" / "frames.csv").open()))
    assert len(rows) == 2 * 54 and float(rows[0]["psnr"]) == result.scores["good"][0]["psnr"][0]
    assert (tmp_path / "out" / "table.tex").read_text().count("good") == 1
    text = (tmp_path / "out" / "index.html").read_text()
    assert text.count("<svg") == 3 and "gone &amp; lost" in text and "is &lt;away&gt;" in text
    pictures = sorted(path.name for path in (tmp_path / "out" / "clips").iterdir())
    assert pictures == [f"{n}_{rank}.png" for n in (0, 1) for rank in ("best", "median", "worst")]
    assert all(f"clips/{name}" in text for name in pictures)
    assert [rank for rank, _, _ in comparison_page.ranked(result, "good")] == ["best", "median", "worst"]


def test_the_order_of_methods_does_not_matter(roots):
    one, two = run(roots), run(roots, methods=("bad", "good"))
    for method in ("good", "bad"):
        assert one.cell(method, "psnr") == two.cell(method, "psnr")


def test_a_single_video_has_no_interval(roots):
    result = compare_methods(
        roots["truth"] / "a", {"good": roots["good"] / "a"}, MetricNetworks(CPU), ResultCache(None)
    )
    assert result.cell("good", "psnr").interval is None and result.cell("good", "psnr").known


class Vectors:
    """An extractor of unit vectors that follow from a frame's mean colour."""

    window = 1

    def __init__(self, name):
        self.name = name

    def prepare(self, frame):
        colour = frame.reshape(-1, 3).mean(0) / 255 - 0.4
        return (colour / np.linalg.norm(colour)).astype(np.float32)

    def extract(self, prepared):
        return prepared


def test_embeddings_give_their_columns_and_captions_the_clip_score(roots):
    networks = load_metric_networks(None, CPU)
    networks.extractors += [Vectors("dino"), Vectors("clip"), Vectors("faces_adaface")]
    networks.caption = lambda text: np.array([1.0, 0, 0]) if text == "red" else None
    for key in ("subject_consistency", "background_consistency", "clip_score", "face_cos_adaface"):
        del networks.needs[key]
    silent = run(roots, networks)
    assert silent.cell("good", "clip_score").text(2) == "no captions"
    (roots["truth"] / "a.txt").write_text("red")
    result = run(roots, networks)
    frames = [list(map(np.asarray, media.read_frames(roots["bad"] / name))) for name in NAMES]
    vectors = [np.stack(list(map(Vectors("").prepare, video))) for video in frames]
    wanted = 100 * np.maximum(vectors[0][:, 0], 0).mean()
    assert result.cell("bad", "clip_score").value == pytest.approx(wanted, rel=1e-5)
    pairs = [(v[1:] * v[:-1]).sum(1) / 2 + (v[1:] @ v[0]) / 2 for v in vectors]
    wanted = np.concatenate(pairs).mean()
    assert result.cell("bad", "subject_consistency").value == pytest.approx(wanted, rel=1e-5)
    assert result.cell("good", "face_cos_adaface").value > result.cell("bad", "face_cos_adaface").value
    assert result.cell("bad", "face_cos_adaface").interval is not None


def test_hashes_of_files_without_a_published_one_are_told(roots, tmp_path):
    networks = load_metric_networks(None, CPU)
    networks.hashes["x.pth"] = "abc"
    result = run(roots, networks)
    assert comparison_page.comparison_data(result)["weights_sha256"] == {"x.pth": "abc"}
    assert any("x.pth: accepted by its tensors" in line for line in comparison_page.notes(result, True))
