"""ReferenceReader: banks and sources at a timestep."""

import pytest
import torch

from magicdance_core.models import Networks, ReferenceReader, project_bank, read_reference

TIMESTEP = 500


@pytest.fixture(autouse=True)
def no_grad():
    with torch.no_grad():
        yield


def draw(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


PICTURES, TEXT = draw(4, 4, 8, 8), draw(1, 3, 12, seed=1)


def test_pictures_of_one_person_share_a_row(tiny):
    alone = [ReferenceReader(tiny.appearance, picture[None]).bank(TIMESTEP, TEXT) for picture in PICTURES]
    pairs = ReferenceReader(tiny.appearance, PICTURES, per_person=2).bank(TIMESTEP, TEXT)
    assert list(pairs) == list(alone[0])
    for name, tokens in pairs.items():
        people = [torch.cat([alone[i][name], alone[i + 1][name]], dim=1) for i in (0, 2)]
        assert torch.allclose(tokens, torch.cat(people), atol=1e-5)


def test_source_is_the_projected_bank(tiny):
    reader = ReferenceReader(tiny.appearance, PICTURES[:2], per_person=2)
    source = reader.source(tiny.unet, TIMESTEP, TEXT, 0.5)
    by_hand = project_bank(tiny.unet, reader.bank(TIMESTEP, TEXT), 0.5)
    assert source.strength == by_hand.strength == 0.5 and source.keys.keys() == by_hand.keys.keys()
    assert all(torch.equal(source.keys[name], by_hand.keys[name]) for name in source.keys)
    assert all(torch.equal(source.values[name], by_hand.values[name]) for name in source.values)


def test_training_reads_each_person_separately(tiny):
    source = read_reference(Networks(tiny.unet, tiny.appearance), PICTURES, TIMESTEP, TEXT)
    assert {len(tokens) for tokens in source.keys.values()} == {len(PICTURES)}


def test_strength_0_reads_nothing(tiny):
    tiny.appearance.register_forward_pre_hook(lambda module, args: pytest.fail("read for nothing"))
    assert ReferenceReader(tiny.appearance, PICTURES).source(tiny.unet, TIMESTEP, TEXT, 0.0) is None
