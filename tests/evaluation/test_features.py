"""Networks over streams of frames: the same whatever the batches, and the arithmetic written out beside them."""

import weakref

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save_file

from magicdance_core.errors import InputError
from magicdance_core.evaluation import features
from magicdance_core.evaluation.features import (
    CLIP,
    KINETICS_MEAN,
    ClipExtractor,
    InceptionExtractor,
    Lpips,
    extract_features,
)
from magicdance_core.evaluation.scores import score_frames
from magicdance_core.evaluation.video_networks import ResNet3D

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def clip_network():
    torch.manual_seed(0)
    return ClipExtractor("resnet3d", ResNet3D(4, (1, 1, 1, 1)).eval(), 16, KINETICS_MEAN, 1.0, CPU)


@pytest.mark.parametrize("frames", [16, 17, 31, 40])
def test_clips_begin_at_every_frame_whatever_the_batch(clip_network, square, monkeypatch, frames):
    pictures = square(frames)
    found = extract_features(pictures, [clip_network])["resnet3d"]
    assert found.shape == (frames - CLIP + 1, 128)
    last = np.stack([clip_network.prepare(p) for p in pictures[-CLIP:]])
    pixels = (torch.from_numpy(last).float() - torch.tensor(KINETICS_MEAN)).permute(3, 0, 1, 2)[None]
    with torch.no_grad():
        torch.testing.assert_close(torch.from_numpy(found[-1:]), clip_network.network(pixels), rtol=1e-4, atol=1e-5)
    monkeypatch.setattr(features, "FRAMES_AT_ONCE", 3)
    monkeypatch.setattr(features, "CLIPS_AT_ONCE", 2)
    np.testing.assert_allclose(
        extract_features(iter(pictures), [clip_network])["resnet3d"], found, rtol=1e-4, atol=1e-5
    )


def test_a_video_shorter_than_a_clip_has_no_features(clip_network, square):
    assert len(extract_features(square(15), [clip_network])["resnet3d"]) == 0


def test_at_most_a_batch_of_frames_is_held(clip_network, square):
    alive, most = [], 0

    class Frame(np.ndarray):
        """A picture that can be tracked."""

    def frames():
        nonlocal most
        for picture in square(3) * 40:
            frame = picture.copy().view(Frame)
            alive[:] = [reference for reference in alive if reference() is not None] + [weakref.ref(frame)]
            most = max(most, len(alive))
            yield frame

    assert len(extract_features(frames(), [clip_network])["resnet3d"]) == 120 - 15 and most <= 3
    pairs = ((Image.fromarray(f), Image.fromarray(f)) for f in frames())
    assert len(score_frames(pairs)["psnr"]) == 120 and most <= 3


def test_features_that_are_not_finite_are_refused(clip_network, square):
    class Broken(torch.nn.Module):
        def forward(self, clips):
            return torch.full((len(clips), 3), torch.nan)

    with pytest.raises(InputError, match="resnet3d gives values that are not finite"):
        extract_features(square(16), [ClipExtractor("resnet3d", Broken(), 16, KINETICS_MEAN, 1.0, CPU)])


@pytest.fixture(scope="module")
def vgg(tmp_path_factory):
    """A VGG-16 of random weights in torchvision's layout, without its classifier."""
    torchvision = pytest.importorskip("torchvision")
    pytest.importorskip("torchmetrics")
    with torch.device("meta"):  # its classifier takes seconds to fill
        network = torchvision.models.vgg16(weights=None).features
    network, generator = network.to_empty(device="cpu"), torch.Generator().manual_seed(0)
    for value in network.parameters():
        value.data.normal_(0, (2 / value[0].numel()) ** 0.5 if value.dim() > 1 else 0.1, generator=generator)
    path = tmp_path_factory.mktemp("vgg") / "vgg.safetensors"
    save_file({f"features.{name}": value for name, value in network.state_dict().items()}, path)
    return path, network.eval()


def plain_lpips(network, linear, one, two):
    """Zhang et al. (2018), written out: unit channels, squared differences, weighed, averaged, added up."""
    shift, scale = torch.tensor([-0.030, -0.088, -0.188]), torch.tensor([0.458, 0.448, 0.450])
    x, total, stage = (torch.cat([one, two]) - shift[:, None, None]) / scale[:, None, None], 0.0, 0
    for index, layer in enumerate(network):
        x = layer(x)
        if index in (3, 8, 15, 22, 29):
            unit = F.normalize(x, dim=1)
            total += ((unit[:1] - unit[1:]) ** 2 * linear[stage][:, None, None]).sum(1).mean()
            stage += 1
    return float(total)


def test_lpips_with_correct_and_with_published_input(vgg, square):
    path, network = vgg
    lpips = Lpips.from_file(path, CPU)
    linear = [getattr(lpips.network, f"lin{i}").model[-1].weight.flatten() for i in range(5)]
    assert all(weights.min() >= 0 and weights.sum() > 0 for weights in linear)  # the learned ones, brought along
    made, true = square(1, noise=30, size=(32, 32))[0], square(1, size=(32, 32))[0]
    one, two = (torch.from_numpy(p).permute(2, 0, 1)[None] / 255 for p in (made, true))
    with torch.no_grad():
        right = plain_lpips(network, linear, 2 * one - 1, 2 * two - 1)
        slip = plain_lpips(network, linear, one, two)
    assert lpips(made, true) == pytest.approx(right, rel=1e-4)
    assert lpips(made, true, signed=False) == pytest.approx(slip, rel=1e-4) and abs(slip - right) > 0.02 * right
    assert lpips(true, true) == 0


def test_lpips_refuses_weights_of_another_network(tmp_path):
    pytest.importorskip("torchmetrics")
    save_file({"features.0.weight": torch.zeros(64, 3, 3, 3)}, tmp_path / "other.safetensors")
    with pytest.raises(InputError, match="is no VGG-16"):
        Lpips.from_file(tmp_path / "other.safetensors", CPU)


def test_inception_loads_the_file_that_it_is_given(tmp_path, square, monkeypatch):
    pytest.importorskip("torchmetrics")
    extractor = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3").FeatureExtractorInceptionV3
    with monkeypatch.context() as patch:  # without a file it would download one
        patch.setattr("torch_fidelity.feature_extractor_inceptionv3.load_state_dict_from_url", lambda *_, **__: {})
        patch.setattr(extractor, "load_state_dict", lambda self, state: None)
        state = extractor("inception-v3-compat", ["2048"]).state_dict()
    torch.manual_seed(0)
    state = {name: torch.rand_like(v) * 0.05 + 1e-2 if v.is_floating_point() else v for name, v in state.items()}
    torch.save(state, tmp_path / "inception.pth")
    extractor = InceptionExtractor.from_file(tmp_path / "inception.pth", True, CPU)
    loaded = extractor.network.state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in state.items())
    found = extract_features(square(2), [extractor])["inception"]
    assert found.shape == (2, 2048) and not np.array_equal(found[0], found[1])
    torch.save({"x": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(InputError, match="is of another network"):
        InceptionExtractor.from_file(tmp_path / "other.pth", True, CPU)


def test_frames_are_resized_with_and_without_antialiasing(square):
    frame = square(1, size=(640, 600))[0]
    smooth, rough = (InceptionExtractor(None, antialias, CPU).prepare(frame) for antialias in (True, False))
    assert smooth.shape == rough.shape == (299, 299, 3) and rough.dtype == np.uint8
    assert smooth.std() < rough.std()  # noise that a rough filter keeps
