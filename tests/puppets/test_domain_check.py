"""Puppets are distinguished from photographs, and their poses from others."""

import pytest
import torch
from PIL import Image
from skimage import data

from magicdance_core.media import fit
from magicdance_core.pose import draw_pose
from magicdance_core.puppets import Choreography, Identity, draw_puppet, puppet_keypoints
from magicdance_core.puppets.domain_check import MIN_FLAT, domain_warnings, flatness, is_familiar_pose
from magicdance_core.sampling import to_images


def picture(image, side=64):
    return to_images(fit(image.convert("RGB"), side, side), "picture", 1)


def puppet(seed, side=64):
    return Identity.from_seed(seed, "test"), Choreography.from_seed(seed, "test").pose(9 * seed)


def pose_map(seed, side=64):
    return to_images(Image.fromarray(draw_pose(puppet_keypoints(*puppet(seed), side))), "pose", 1)


@pytest.mark.parametrize("side", [64, 128, 512])
def test_puppets_are_flat_at_any_size(side):
    assert min(flatness(picture(draw_puppet(*puppet(seed), side), side)[0]) for seed in range(6)) > MIN_FLAT


@pytest.mark.parametrize("name", ["astronaut", "coffee", "chelsea"])
def test_photographs_are_not_flat(name):
    photograph = picture(Image.fromarray(getattr(data, name)()))
    assert flatness(photograph[0]) < MIN_FLAT
    (remark,) = domain_warnings(photograph, pose_map(0))
    assert "Photographs need" in remark and "published weights" in remark


def test_noise_with_a_natural_spectrum_is_not_flat():
    waves = torch.randn(3, 64, 33, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
    frequency = (torch.fft.fftfreq(64)[:, None] ** 2 + torch.fft.rfftfreq(64) ** 2).sqrt().clamp(min=1 / 64)
    noise = torch.fft.irfft2(waves / frequency)
    assert flatness((noise - noise.min()) / (noise.max() - noise.min())) < MIN_FLAT


def test_poses_of_puppets_are_familiar_and_others_are_not():
    reference, maps = picture(draw_puppet(*puppet(1), 64)), torch.cat([pose_map(seed) for seed in range(6)])
    assert all(is_familiar_pose(pose) for pose in maps) and domain_warnings(reference, maps) == []
    near = torch.nn.functional.interpolate(maps[:, :, :40, 12:52], (64, 64))  # the upper body, close
    far = torch.zeros(6, 3, 64, 64)
    far[:, :, 20:40, 22:42] = torch.nn.functional.interpolate(maps, (20, 20), mode="area")
    for other in (near, far, torch.zeros(6, 3, 64, 64), reference.expand(6, -1, -1, -1)):
        assert not any(is_familiar_pose(pose) for pose in other)
    (remark,) = domain_warnings(reference, torch.cat([maps[:2], far]))
    assert "6 of 8" in remark and "Retarget Pose" in remark
    assert domain_warnings(reference, torch.cat([maps, far[:4]])) == []  # a few frames may be anything
