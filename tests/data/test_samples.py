import numpy as np
import pytest
import torch
from PIL import Image

from magicdance_core.data.crops import (
    CropBox,
    central_crop,
    crop_picture,
    crop_regions,
    random_crop,
    region_weights,
)
from magicdance_core.data.data_config import DataConfig
from magicdance_core.data.frame_sets import Video
from magicdance_core.data.latent_cache import LatentCache
from magicdance_core.data.picking import Picker
from magicdance_core.data.puppet_frames import PuppetFrames, draw_training_frame, is_close_up
from magicdance_core.data.samples import ProcessBatches, generator, load_batches
from magicdance_core.errors import InputError


def videos(*lengths, runs=()):
    return [Video(f"v{n}", length, 40, 30, "train", runs) for n, length in enumerate(lengths)]


def test_any_number_of_processes_and_passes_makes_the_same_steps():
    def steps(processes, per_pass):
        shares = [ProcessBatches(3, 5, 8, per_pass, process, processes) for process in range(processes)]
        own = [[n for numbers in share for n in numbers] for share in shares]
        assert not set.intersection(set(range(-1, 0)), *map(set, own))
        for left in range(processes):
            for right in range(left):
                assert not set(own[left]) & set(own[right])
        return sorted(n for numbers in own for n in numbers)

    assert steps(1, 8) == steps(1, 2) == steps(2, 4) == steps(2, 1) == steps(4, 2) == list(range(24, 40))


def draw_until_six(index):
    if index == 6:
        raise InputError("six")
    return {"x": torch.rand(2, generator=generator(0, index))}


@pytest.mark.parametrize("workers", [0, 2])
def test_any_number_of_workers_makes_the_same_batches(workers):
    loader = load_batches(draw_until_six, ProcessBatches(0, 3, 4, 2), workers)
    made = torch.cat([next(loader)["x"] for _ in range(3)])
    assert torch.equal(made, torch.stack([torch.rand(2, generator=generator(0, n)) for n in range(6)]))
    with pytest.raises(InputError, match="^six$"):
        next(loader)


def test_each_epoch_takes_each_video_once_and_frames_are_distinct():
    picker = Picker(videos(5, 6, 7), "train", targets=3, stride=0, distance=0, seed=1)
    picks = [picker(n, generator(1, n)) for n in range(300)]
    orders = {tuple(p.video for p in picks[k : k + 3]) for k in range(0, 300, 3)}
    assert all(sorted(order) == [0, 1, 2] for order in orders) and len(orders) == 6
    assert all(len({p.reference, *p.targets}) == 4 for p in picks)
    assert {p.reference for p in picks if p.video == 0} == set(range(5))
    assert picks[7] == picker(7, generator(1, 7))


def test_distance_and_stride_limit_the_frames():
    near = Picker(videos(50), "train", targets=2, stride=0, distance=4, seed=0)
    picks = [near(n, generator(0, n)) for n in range(200)]
    assert max(abs(t - p.reference) for p in picks for t in p.targets) == 4
    clips = Picker(videos(20, runs=((0, 6), (6, 3), (9, 11))), "train", targets=3, stride=2, distance=0, seed=0)
    found = {clips(n, generator(0, n)).targets for n in range(400)}
    assert found == {(s, s + 2, s + 4) for s in (0, 1, *range(9, 16))}
    with pytest.raises(InputError, match="v0 has 3 consecutive frames, and a sample takes 5"):
        Picker(videos(3), "train", targets=3, stride=2, distance=0, seed=0)
    with pytest.raises(InputError, match="no video in its split 'test'"):
        Picker(videos(3), "test", targets=1, stride=0, distance=0, seed=0)
    short = Picker(videos(2), "train", targets=3, stride=0, distance=0, seed=0)(0, generator(0))
    assert set(short.targets) == {1 - short.reference}


def test_vary_stride_draws_a_stride_per_sample():
    picker = Picker(videos(20), "train", targets=4, stride=3, distance=0, seed=1, vary_stride=True)
    picks = [picker(n, generator(1, n)).targets for n in range(60)]
    strides = [{b - a for a, b in zip(targets, targets[1:])} for targets in picks]
    assert {min(stride) for stride in strides} == {1, 2, 3} and all(len(stride) == 1 for stride in strides)
    assert all(0 <= targets[0] and targets[-1] < 20 for targets in picks)


def test_crops_stay_inside_the_picture():
    picture = np.arange(30 * 40 * 3, dtype=np.uint8).reshape(30, 40, 3)
    assert central_crop(40, 30) == CropBox(5, 0, 30, 30)
    assert np.array_equal(crop_picture(picture, CropBox(5, 0, 30, 30), (30, 30)), picture[:, 5:35])
    pil = Image.fromarray(picture).crop((5, 0, 35, 30)).resize((15, 15), Image.Resampling.BILINEAR)
    assert np.array_equal(crop_picture(picture, central_crop(40, 30), (15, 15)), np.asarray(pil))
    made = {random_crop(40, 30, (0.5, 1.0), generator(0, n)) for n in range(300)}
    assert {w.width for w in made} == set(range(15, 31))
    assert all(0 <= w.left <= 40 - w.width and 0 <= w.top <= 30 - w.height for w in made)
    regions = crop_regions(np.array([[10, 5, 20, 15], [0, 0, 0, 0]], np.float32), CropBox(5, 0, 30, 30), (15, 15))
    assert regions.tolist() == [[2.5, 2.5, 7.5, 7.5], [0, 0, 0, 0]]


def test_region_weights_within_boxes():
    regions = np.array([[0, 0, 4, 4], [0, 0, 0, 0], [2, 2, 8, 8]], np.float32)
    weights = region_weights(regions, (8, 8), 2, (3.0, 2.0))
    assert weights.tolist() == [[[3, 3, 1, 1], [3, 3, 2, 2], [1, 2, 2, 2], [1, 2, 2, 2]]]


def test_puppets_are_drawn_once_and_cached(tmp_path, monkeypatch):
    config = DataConfig(size=16, identities=2, frames=3, held_out=1, motion="dance", fps=15)
    first = PuppetFrames(config, tmp_path)
    assert [v.split for v in first.videos] == ["train", "train", "validation"]
    frame = first.read(1, 2)
    drawn = draw_training_frame(config, 1, 2)
    for got, wanted in zip((frame.image, frame.pose, frame.regions), drawn):
        assert np.array_equal(got, wanted)
    monkeypatch.setattr("magicdance_core.data.puppet_frames.draw_training_frame", None)
    assert np.array_equal(PuppetFrames(config, tmp_path).read(1, 2).image, frame.image)
    monkeypatch.setattr("magicdance_core.data.puppet_frames.drawing_fingerprint", lambda: "other")
    assert PuppetFrames(config, tmp_path).cache.folder != first.cache.folder


def test_damaged_caches_are_named(tmp_path, tiny):
    config = DataConfig(size=16, identities=2, frames=2, held_out=0)
    frames = PuppetFrames(config, tmp_path)
    frames.read(0, 0)
    cache = LatentCache(frames, config, 0, tiny.vae, tmp_path)
    cache.cache.make()
    cache.fill(tiny.vae, torch.device("cpu"))
    again = LatentCache(frames, config, 0, tiny.vae, tmp_path)
    assert torch.equal(again.read(1, [0, 1], 0), cache.read(1, [0, 1], 0)) and again.read(1, [0], 0).any()
    (cache.cache.folder / "latents.npy").write_bytes(b"no")
    with pytest.raises(InputError, match="latents-.* is damaged .*remove it"):
        LatentCache(frames, config, 0, tiny.vae, tmp_path).read(0, [0], 0)
    (frames.cache.folder / "poses.npy").write_bytes(b"no")
    with pytest.raises(InputError, match="puppets-.* is damaged .*remove it"):
        PuppetFrames(config, tmp_path).read(0, 0)


def test_latents_of_another_vae_are_not_used(tmp_path, tiny):
    config = DataConfig(size=16, identities=2, frames=2, held_out=0)
    frames = PuppetFrames(config, tmp_path)
    before = LatentCache(frames, config, 0, tiny.vae, tmp_path).cache.folder
    assert LatentCache(frames, config, 0, tiny.vae, tmp_path).cache.folder == before
    with torch.no_grad():
        tiny.vae.encoder.conv_in.bias[0] += 1
    assert LatentCache(frames, config, 0, tiny.vae, tmp_path).cache.folder != before


def test_close_ups_are_faces_in_the_scale_of_the_face_pass(tmp_path):
    config = DataConfig(size=64, identities=8, frames=2, held_out=0, close_ups=0.5)
    assert sum(is_close_up(config, n) for n in range(8)) == 4
    frames, sizes = PuppetFrames(config, tmp_path), {True: [], False: []}
    for video in range(8):
        frame = frames.read(video, 1)
        assert frame.image.shape == frame.pose.shape == (64, 64, 3)
        box = frame.regions[0]
        sizes[is_close_up(config, video)].append((box[2] - box[0]) / 64)
        assert frame.pose[int(max(box[1], 0)) : int(box[3]), int(max(box[0], 0)) : int(box[2])].any()
    # The head's box is half as large again as the landmarks', of which a crop has twice the side.
    assert 0.6 < min(sizes[True]) and max(sizes[True]) < 0.9 and max(sizes[False]) < 0.5
    assert PuppetFrames(DataConfig(size=64, identities=8, frames=2, held_out=0), tmp_path).cache.folder != (
        frames.cache.folder
    )
