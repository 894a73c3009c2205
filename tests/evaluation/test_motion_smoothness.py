"""Motion smoothness: AMT-S against answers of the published code, and the score with interpolators that are known.

golden/frame_interpolation.npz holds every 97th value of what AMT's and VBench's published code (CPU, float32) gave for
the weights of `drawn` and the pictures below: the frame between two, its mean, the first frame in 8 bits that VBench
made of a video, and VBench's score of that video.
"""

import json
import typing
import zlib
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import pad

from magicdance_core.errors import InputError
from magicdance_core.evaluation import frame_interpolation, metric_networks
from magicdance_core.evaluation.features import FRAMES_AT_ONCE, extract_features
from magicdance_core.evaluation.frame_interpolation import FrameInterpolator
from magicdance_core.evaluation.method_comparison import compare_methods
from magicdance_core.evaluation.metric_networks import load_metric_networks
from magicdance_core.evaluation.metric_weights import AMT
from magicdance_core.evaluation.motion_smoothness import (
    SmoothnessExtractor,
    smoothness,
    smoothness_of_frames,
)
from magicdance_core.evaluation.result_cache import ResultCache

CPU = torch.device("cpu")
GOLDEN = Path(__file__).parents[1] / "golden" / "frame_interpolation.npz"
PUBLISHED = {  # some shapes of amt-s.pth, from its authors' code
    "feat_encoder.conv1.weight": (32, 3, 7, 7), "feat_encoder.layer3.0.downsample.0.weight": (96, 64, 1, 1),
    "feat_encoder.conv2.weight": (84, 96, 1, 1), "encoder.pyramid4.1.1.weight": (56,),
    "decoder4.convblock.0.0.weight": (112, 113, 3, 3), "decoder3.convblock.1.conv4.0.weight": (20, 20, 3, 3),
    "decoder2.convblock.1.prelu.weight": (96,), "decoder1.convblock.2.weight": (60, 24, 4, 4),
    "update4.convc1.weight": (64, 392, 1, 1), "update3.gru.0.weight": (76, 104, 3, 3),
    "update2.feat_head.2.weight": (20, 76, 3, 3), "update2.flow_head.2.bias": (4,),
    "comb_block.2.weight": (3, 18, 3, 3),
}  # fmt: skip


def drawn(network):
    """Each weight from its own name."""
    for name, weight in network.state_dict().items():
        noise = torch.randn(weight.shape, generator=torch.Generator().manual_seed(zlib.crc32(name.encode())))
        weight.copy_(0.9 * noise / weight[0].numel() ** 0.5 if weight.dim() > 1 else 0.1 * noise)
    return network.eval().requires_grad_(False)


def silent(network):
    """All weights zero, so that flows, residues and correction are, and both frames count half."""
    for weight in network.parameters():
        weight.data.zero_()
    return network.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def network():
    return drawn(FrameInterpolator())


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN) as file:
        return dict(file)


# The network


def test_frames_between_are_those_of_the_published_code(network, golden):
    first, second = torch.rand(2, 1, 3, 128, 144, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        made = network(first, second)
    assert made.shape == (1, 3, 128, 144) and float(made.double().mean()) == pytest.approx(
        float(golden["mean"]), abs=1e-6
    )
    assert np.abs(made.numpy().ravel()[::97] - golden["between"]).max() < 1e-4  # 1e-13 in double precision
    assert golden["between"].std() > 0.2


def test_the_score_of_a_video_is_vbenchs(network, golden):
    """Sides that are no multiples of 16; every second frame, cut off to 8 bits."""
    coarse = np.random.default_rng(2).integers(0, 256, (5, 17, 19, 3), dtype=np.uint8)
    resized = [Image.fromarray(frame).resize((141, 130), Image.Resampling.BILINEAR) for frame in coarse]
    frames = np.stack([np.asarray(frame) for frame in resized])
    extractor = SmoothnessExtractor(network, CPU)
    made = extractor.interpolate(frames[0], frames[2]).ravel()[::97].astype(int)
    assert np.abs(made - golden["made"]).max() <= 1 and (made != golden["made"]).mean() < 0.01
    values = extract_features(frames, [extractor])["amt"]
    assert np.isnan(values).tolist() == [False, True, False]
    assert np.nanmean(values) == pytest.approx(float(golden["score"]), abs=1e-5)


def test_several_pairs_and_correlations_in_parts_change_nothing(network, monkeypatch):
    first, second = torch.rand(2, 2, 3, 128, 128, generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        whole = network(first, second)
        monkeypatch.setattr(frame_interpolation, "PAIRS_AT_ONCE", 2 * 256 * 100)
        assert torch.allclose(network(first, second), whole, atol=1e-4)
        assert torch.allclose(network(first[1:], second[1:]), whole[1:], atol=1e-4)


def test_without_flows_both_frames_are_mixed_and_with_them_moved():
    network = silent(FrameInterpolator())
    first, second = torch.rand(2, 1, 3, 128, 144, generator=torch.Generator().manual_seed(4))
    with torch.inference_mode():
        assert torch.allclose(network(first, second), (first + second) / 2, atol=1e-4)
        # Each of three fields leads 3 pixels right to the first frame, and 2 up to the second one.
        network.decoder1.convblock[2].bias[:12] = torch.tensor([3.0, 0] * 3 + [0, -2.0] * 3)
        moved = (
            pad(first, (0, 3, 0, 0), mode="replicate")[..., 3:],
            pad(second, (0, 0, 2, 0), mode="replicate")[..., :-2, :],
        )
        assert torch.allclose(network(first, second), (moved[0] + moved[1]) / 2, atol=1e-4)
        network.decoder1.convblock[2].bias[12:15] = 20.0  # the first frame alone
        network.comb_block[2].bias[:] = torch.tensor([0.5, 0, -2])
        made = network(first, second)
        assert torch.allclose(made[:, 0], (moved[0][:, 0] + 0.5).clamp(max=1), atol=1e-4) and not made[:, 2].any()


def test_names_and_sizes_are_those_of_the_published_file():
    with torch.device("meta"):
        state = FrameInterpolator().state_dict()
    assert all(tuple(state[name].shape) == shape for name, shape in PUBLISHED.items())
    assert len(state) == 213 and sum(weight.numel() for weight in state.values()) == 2_990_543


# The file


def published_file(network, path):
    """As its authors saved theirs: with typing.OrderedDict, which torch takes for code."""
    saved = typing.OrderedDict()
    saved["state_dict"] = OrderedDict(network.state_dict())
    torch.save(saved, path)
    return path


def test_the_published_form_of_the_file_is_read(network, tmp_path):
    read = SmoothnessExtractor.from_file(published_file(network, tmp_path / "a.pth"), CPU).network
    assert all(torch.equal(weight, read.state_dict()[name]) for name, weight in network.state_dict().items())
    assert not read.training


def test_foreign_and_damaged_files_are_refused(network, tmp_path):
    path = published_file(network, tmp_path / "amt-s.pth")
    with pytest.raises(InputError, match="is not the published amt-s.pth .SHA-256 .*get it again"):
        load_metric_networks(tmp_path, CPU)
    path.write_bytes(path.read_bytes()[:100_000])
    with pytest.raises(InputError, match="is damaged, incomplete or not a checkpoint"):
        SmoothnessExtractor.from_file(path, CPU)
    torch.save({"state_dict": {"encoder.pyramid1.0.0.weight": torch.zeros(24, 3, 3, 3)}}, path)
    with pytest.raises(InputError, match="is of another network .it lacks .*see --weights-help"):
        SmoothnessExtractor.from_file(path, CPU)


def test_weights_that_give_no_numbers_are_told():
    network = silent(FrameInterpolator())
    network.comb_block[2].bias[:] = torch.nan
    frame = np.zeros((128, 128, 3), np.uint8)
    with pytest.raises(InputError, match="amt gives values that are not finite"):
        SmoothnessExtractor(network, CPU).interpolate(frame, frame)


# The score


def with_squares_at(lefts):
    frames = np.full((len(lefts), 120, 160, 3), 40, np.uint8)
    for frame, left in zip(frames, lefts):
        frame[20:60, left : left + 30] = 200
    return frames


def halfway(first, second):
    """Where the square is between: what a network that understands movement gives."""
    lefts = [int(np.argmax(frame[40, :, 0])) for frame in (first, second)]
    return with_squares_at([sum(lefts) // 2])[0]


def test_even_movement_is_smooth_and_jitter_is_not():
    even = smoothness(with_squares_at(range(10, 70, 6)), halfway)
    assert even.shape == (8,) and np.isnan(even[1::2]).all() and (even[::2] == 1).all()
    jitter = smoothness(with_squares_at([10, 16, 22, 31, 34, 40, 46]), halfway)
    # The fourth frame's square is 3 pixels off: two borders of 3 x 40 pixels differ by 160 levels.
    assert jitter[[0, 2, 4]] == pytest.approx([1, 1 - 2 * 3 * 40 * 160 / (120 * 160) / 255, 1])


def test_a_still_video_scores_one_also_by_the_network():
    still = with_squares_at([10] * 5)
    assert np.nanmean(smoothness(still, halfway)) == 1
    values = SmoothnessExtractor(silent(FrameInterpolator()), CPU).extract(still)
    assert np.nanmin(values) > 1 - 1.01 / 255  # cutting off to 8 bits may cost a level


@pytest.mark.parametrize("count, text", [(0, "0 frames"), (1, "1 frame,"), (2, "2 frames")])
def test_too_few_frames_are_refused(count, text):
    with pytest.raises(InputError, match=f"has {text}.* needs at least 3; give a longer one"):
        smoothness(with_squares_at([10] * count), halfway)


def test_scores_belong_to_the_frames_left_out():
    scores = smoothness_of_frames(np.array([0.5, np.nan, 0.25], np.float32), 5)
    assert np.isnan(scores[[0, 2, 4]]).all() and scores[[1, 3]].tolist() == [0.5, 0.25]
    assert np.isnan(smoothness_of_frames(np.zeros(0, np.float32), 2)).all()


class Halfway(SmoothnessExtractor):
    def interpolate(self, first, second):
        return halfway(first, second)


def test_long_videos_are_scored_as_if_read_at_once():
    lefts = np.random.default_rng(0).integers(5, 100, 2 * FRAMES_AT_ONCE + 5)
    frames = with_squares_at(lefts)
    values = extract_features(frames, [Halfway(None, CPU)])["amt"]
    assert np.array_equal(values, smoothness(frames, halfway), equal_nan=True)


def test_small_and_mixed_frames_are_refused():
    small, larger = np.zeros((113, 112, 3), np.uint8), np.zeros((113, 113, 3), np.uint8)
    extractor = Halfway(None, CPU)
    with pytest.raises(InputError, match="has 112 x 113 pixels, motion smoothness needs at least 113 a side"):
        extract_features([small] * 3, [extractor])
    with pytest.raises(InputError, match="frames of several sizes, and the network amt needs one"):
        extract_features([larger, larger, np.zeros((120, 113, 3), np.uint8)], [extractor])
    silence = SmoothnessExtractor(silent(FrameInterpolator()), CPU)  # the smallest that it takes
    assert not silence.interpolate(larger, larger).any()


# In the table


def test_a_video_of_two_frames_leaves_the_other_metrics(tmp_path, write_videos):
    def videos(shift):
        lefts = {"a": [10, 20, 30 + shift, 40], "b": [10, 20]}
        return {name: list(with_squares_at(places)) for name, places in lefts.items()}

    truth, made = write_videos(tmp_path / "truth", videos(0)), write_videos(tmp_path / "made", videos(10))
    networks = load_metric_networks(None, CPU)
    networks.extractors.append(Halfway(None, CPU))
    del networks.needs["motion_smoothness"]
    result = compare_methods(truth, {"made": made}, networks, ResultCache(None))
    assert result.cell("made", "motion_smoothness").text(3) == "b is under 3 frames"
    assert result.cell("made", "psnr").known and "fewer than 3 frames" in result.problems[""]
    alone = compare_methods(truth / "a", {"made": made / "a"}, networks, ResultCache(None))
    wanted = 1 - 2 * 5 * 40 * 160 / (120 * 160) / 255
    assert alone.cell("made", "motion_smoothness").value == pytest.approx(wanted, abs=1e-6) and not alone.problems


def test_the_command_has_the_column(network, tmp_path, write_videos, monkeypatch, capsys):
    from magicdance_core.__main__ import main

    (tmp_path / "weights").mkdir()
    published_file(network, tmp_path / "weights" / AMT.name)
    monkeypatch.setattr(metric_networks, "AMT", replace(AMT, sha256=None))  # of weights that are not at hand
    for name in ("truth", "mine"):
        write_videos(tmp_path / name, {"a": list(with_squares_at([10, 20, 30]))})
    command = [
        "evaluate",
        "--truth",
        str(tmp_path / "truth"),
        "--method",
        f"mine={tmp_path / 'mine'}",
        "--device",
        "cpu",
    ]
    assert main([*command, "--weights", str(tmp_path / "weights"), "--json", str(tmp_path / "r.json")]) == 0
    mine = json.loads((tmp_path / "r.json").read_text())["methods"]["mine"]
    assert 0 < mine["motion_smoothness"] < 1
    assert "motion smoothness" in capsys.readouterr().out
