"""What trainers expect: aspect-ratio buckets, several data sets with weights, mirroring and colours."""

from collections import Counter

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from magicdance_core.data import open_frames
from magicdance_core.data.crops import Colours, bucket_size, central_crop, crop_picture, mirror_regions, random_crop
from magicdance_core.data.data_config import DataConfig, SetConfig
from magicdance_core.data.epochs import EpochOrder
from magicdance_core.data.frame_sets import regions_of
from magicdance_core.data.latent_cache import LatentCache, fixed_view
from magicdance_core.data.picking import Picker
from magicdance_core.data.puppet_frames import PuppetFrames, training_moment
from magicdance_core.data.samples import generator
from magicdance_core.errors import InputError
from magicdance_core.pose.draw import draw_pose
from magicdance_core.pose.parts import mirrored
from magicdance_core.puppets import Choreography, Identity, puppet_keypoints
from magicdance_core.training.config import StageConfig
from magicdance_core.training.objectives import DiffusionObjective, LatentSpace, order_of


def test_mirroring_exchanges_left_and_right_of_every_part():
    frame = puppet_keypoints(Identity.from_seed(3), Choreography.from_seed(3).pose(40), 200, 300)
    turned = mirrored(frame)
    one, two = frame.people[0], turned.people[0]
    assert np.allclose(two.body[4, :2], [200 - one.body[7, 0], one.body[7, 1]])
    assert np.allclose(two.left_hand[:, 0], 200 - one.right_hand[:, 0])
    back = mirrored(turned).people[0]
    for part in ("body", "face", "left_hand", "right_hand", "feet"):
        assert np.allclose(getattr(back, part), getattr(one, part), atol=1e-4), part
    # A frontal face is its own mirror image: each landmark goes to where its counterpart was.
    assert np.all(np.diff(two.face[:17, 0]) > 0) == np.all(np.diff(one.face[:17, 0]) > 0)
    lips = [60, 64]
    assert (two.face[lips[0], 0] < two.face[lips[1], 0]) == (one.face[lips[0], 0] < one.face[lips[1], 0])
    assert np.allclose(mirror_regions(regions_of(one), 200), regions_of(two), atol=1e-3)


def test_a_mirrored_map_has_the_mirrored_strokes_in_the_other_sides_colours():
    frame = puppet_keypoints(Identity.from_seed(3), Choreography.from_seed(3).pose(40), 256)
    plain, turned = draw_pose(frame), draw_pose(mirrored(frame))
    flipped = plain[:, ::-1]
    assert ((turned.max(-1) > 60) != (flipped.max(-1) > 60)).mean() < 0.01  # the same strokes
    assert np.abs(turned.astype(int) - flipped).max(-1)[flipped.max(-1) > 60].mean() > 30  # in other colours
    missing = mirrored(puppet_keypoints(Identity.from_seed(3), Choreography.from_seed(3).pose(40), 256)).people[0]
    assert not mirrored(type(frame)((type(missing)(),), 256, 256)).people[0].body.any()  # absent points stay absent


def test_mirrored_frames_of_puppets_and_videos(tmp_path, disco):
    config = DataConfig(size=32, identities=2, frames=2, held_out=0)
    puppets, videos = PuppetFrames(config, tmp_path), open_frames(DataConfig("videos", 16, folder=str(disco)), tmp_path)
    for frames in (puppets, videos):
        plain, turned = frames.read(1, 1), frames.read(1, 1, mirrored=True)
        assert np.array_equal(turned.image, plain.image[:, ::-1])
        assert np.allclose(turned.regions, mirror_regions(plain.regions, plain.image.shape[1]), atol=1e-3)
    keypoints = training_moment(config, 1, 1).keypoints
    assert np.array_equal(puppets.read(1, 1, mirrored=True).pose, draw_pose(mirrored(keypoints)))


def test_colours_are_one_function_of_the_pixel():
    colours = Colours(1.1, 0.9, 1.2)
    one, two = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3)).astype(np.uint8)
    two[0, 0] = one[3, 3]
    assert np.array_equal(colours.apply(two)[0, 0], colours.apply(one)[3, 3])
    assert np.array_equal(Colours(1, 1, 1).apply(one), one)
    grey = np.full((1, 1, 3), 100, np.uint8)
    assert np.unique(colours.apply(grey)).size == 1 and not np.array_equal(colours.apply(one), one)


@pytest.mark.parametrize(
    ("width", "height", "size"), [(512, 512, (512, 512)), (720, 1280, (384, 704)), (1280, 720, (704, 384))]
)
def test_buckets_keep_area_and_aspect_ratio(width, height, size):
    assert bucket_size(width, height, 512, 64) == size and bucket_size(width, height, 512, 0) == (512, 512)
    assert 0.9 < size[0] * size[1] / 512**2 < 1.1
    box = central_crop(width, height, size)
    assert box.width == width or box.height == height
    assert box.width / box.height == pytest.approx(size[0] / size[1], rel=0.01)
    for seed in range(50):
        part = random_crop(width, height, (0.5, 1), generator(0, seed), size)
        assert part.width / part.height == pytest.approx(size[0] / size[1], rel=0.02)
        assert part.left + part.width <= width and part.top + part.height <= height
    assert bucket_size(100, 1000, 512, 64)[1] <= 2.2 * bucket_size(100, 1000, 512, 64)[0]


def test_an_epoch_takes_sets_by_weight_and_shapes_in_groups():
    shapes = ["a"] * 5 + ["b"] * 3 + ["a"] * 2
    order = EpochOrder([range(8), [8, 9]], [1, 3], shapes, 4)
    epochs = [order("train", 0, epoch) for epoch in range(8)]
    assert len({len(epoch) for epoch in epochs}) == 1
    for epoch in epochs:
        groups = [epoch[k : k + 4] for k in range(0, len(epoch), 4)]
        assert all(len({shapes[n] for n in group}) == 1 for group in groups)
    assert epochs[0] != epochs[1] and epochs[0] == order("train", 0, 0) != order("train", 1, 0)
    weighted = EpochOrder([range(8), [8, 9]], [1, 3], ["a"] * 10, 2)
    seen = Counter(n for epoch in range(40) for n in weighted("train", 0, epoch))
    assert (seen[8] + seen[9]) / sum(seen.values()) == pytest.approx(0.75, abs=0.06)
    assert max(seen[n] for n in range(8)) - min(seen[n] for n in range(8)) <= 8  # all videos of a set alike


@pytest.fixture
def two_sets(tmp_path):
    """Two data sets of DisCo's layout, one upright and one wide."""
    import json

    for name, (width, height), count in (("upright", (48, 96), 3), ("wide", (96, 48), 2)):
        for number in range(count):
            folder = tmp_path / name / f"{number:03d}"
            (folder / "openpose_json").mkdir(parents=True)
            for k in range(3):
                Image.new("RGB", (width, height), (80 * number, 60, 90 * k)).save(folder / f"{k:04d}.png")
                points = puppet_keypoints(Identity.from_seed(number), Choreography.from_seed(0).pose(k), width, height)
                body = points.people[0].body.ravel().tolist()
                data = {"people": [{"pose_keypoints_2d": body}], "canvas_width": width, "canvas_height": height}
                (folder / "openpose_json" / f"{k:04d}.json").write_text(json.dumps(data))
    return [SetConfig(str(tmp_path / "upright"), 1.0), SetConfig(str(tmp_path / "wide"), 3.0)]


def test_samples_of_a_step_share_a_shape_and_sets_mix(two_sets, tmp_path):
    data = DataConfig("videos", 64, sets=two_sets, bucket=16, crops=0, crop=(0.8, 1.0), flip=0.5, colour=0.1)
    frames = open_frames(data, tmp_path)
    assert [video.name[:4] for video in frames.videos] == ["upri"] * 3 + ["wide"] * 2
    stage = StageConfig("a", ["pose"], 4, controls=["pose"], references=2, targets=1)
    made = DiffusionObjective(frames, None, data, stage, 0, torch.zeros(1, 1, 8), "epsilon", LatentSpace(4, 4, 1.0))
    samples = [made.sample(index) for index in range(16)]
    shapes = [tuple(sample["images"].shape[1:3]) for sample in samples]
    assert shapes[0::2] == shapes[1::2] and set(shapes) == {(96, 48), (48, 96)}
    assert all(s["noise"].shape[-2:] == (s["images"].shape[1] // 4, s["images"].shape[2] // 4) for s in samples)
    assert all(s["weights"].shape[-2:] == s["noise"].shape[-2:] for s in samples)
    assert {int(s["video"]) for s in samples} >= {0, 3}
    picker = Picker(frames.videos, "train", 1, 0, 0, 0, order=order_of(frames, data, 2))
    wide = [picker(n, generator(0, n)).video >= 3 for n in range(400)]
    assert np.mean(wide) == pytest.approx(0.75, abs=0.15)


def test_reference_target_and_map_share_mirroring_and_colours(tmp_path):
    data = DataConfig(size=32, identities=3, frames=3, held_out=0, crops=0, flip=0.5, colour=0.2)
    frames, stage = (
        PuppetFrames(data, tmp_path),
        StageConfig("a", ["pose"], 4, controls=["pose"], references=1, targets=1),
    )
    made = DiffusionObjective(frames, None, data, stage, 0, torch.zeros(1, 1, 8), "epsilon", LatentSpace(4, 4, 1.0))
    flipped = 0
    for index in range(12):
        sample = made.sample(index)
        video, numbers = int(sample["video"]), sample["frames"].tolist()
        plain = [frames.read(video, n) for n in numbers]
        turned = [frames.read(video, n, mirrored=True) for n in numbers]
        is_turned = np.array_equal(sample["poses"][0].numpy(), turned[1].pose)
        assert is_turned or np.array_equal(sample["poses"][0].numpy(), plain[1].pose)
        flipped += is_turned
        for image, frame in zip(sample["images"].numpy(), turned if is_turned else plain):
            edges = [cv2.Canny(picture, 60, 120) > 0 for picture in (image, frame.image)]
            assert (edges[0] != edges[1]).mean() < 0.2  # the same picture in other colours
            assert not np.array_equal(image, frame.image)
    assert 2 <= flipped <= 10


def test_cached_latents_have_their_views(two_sets, tmp_path, tiny):
    data = DataConfig("videos", 64, sets=two_sets, bucket=16, crops=3, flip=0.5, colour=0.1)
    frames = open_frames(data, tmp_path)
    cache = LatentCache(frames, data, 0, tiny.vae, tmp_path / "cache")
    cache.cache.make()
    cache.fill(tiny.vae, torch.device("cpu"))
    views = [fixed_view(frames, data, 0, 3, crop) for crop in range(3)]
    assert len({view.mirrored for view in [fixed_view(frames, data, 0, v, c) for v in range(5) for c in range(3)]}) == 2
    for crop, view in enumerate(views):
        latents = cache.read(3, [1], crop)
        assert latents.shape[-2:] == (12, 24)
        picture = view.picture(frames.read(3, 1, mirrored=view.mirrored).image, (96, 48))
        pixels = torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
        with torch.no_grad():
            wanted = tiny.vae.encode(pixels).latent_dist.mode()
        assert torch.allclose(latents, wanted, atol=0.01)
    assert crop_picture(np.zeros((4, 6, 3), np.uint8), central_crop(6, 4), (2, 2)).shape == (2, 2, 3)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"flip": 0.5}, "flip has no effect on the central crop: set crops to 0"),
        ({"bucket": 64}, "bucket has no effect on puppets"),
        ({"kind": "videos", "folder": "a", "sets": [SetConfig("b")]}, "folder and sets are both given"),
        ({"kind": "videos", "folder": "a", "bucket": 128}, "bucket is 128 and size 64"),
    ],
)
def test_settings_without_effect_are_refused(values, message):
    with pytest.raises(InputError, match=message):
        DataConfig(**values)
