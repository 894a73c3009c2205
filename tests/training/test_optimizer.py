import torch

from magicdance_core.training.optimizer import Muon, make_optimizers, orthogonalize


def test_orthogonalize_flattens_the_spectrum_and_keeps_directions():
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(2, 24, 60, generator=generator)
    result = orthogonalize(matrix)
    values = torch.linalg.svdvals(result)
    assert values.min() > 0.6 and values.max() < 1.3
    u, _, vh = torch.linalg.svd(matrix, full_matrices=False)
    rotated = u.mT @ result @ vh.mT
    assert torch.allclose(rotated, torch.diag_embed(rotated.diagonal(dim1=1, dim2=2)), atol=1e-3)
    assert torch.allclose(orthogonalize(matrix.mT), result.mT, atol=1e-5)


def test_muon_updates_have_the_documented_size_for_each_weight():
    torch.manual_seed(0)
    first, second = (torch.nn.Parameter(torch.zeros(16, 4, 3, 3)) for _ in range(2))
    first.grad, second.grad = torch.randn(16, 4, 3, 3), 1000 * torch.randn(16, 4, 3, 3)
    Muon([first, second], lr=0.1).step()
    for p in (first, second):
        assert 0.1 * 0.2 * 0.7 < p.square().mean().sqrt() < 0.1 * 0.2 * 1.2


def test_every_parameter_has_exactly_one_optimizer():
    network = torch.nn.ModuleDict(
        {"conv_in": torch.nn.Conv2d(3, 4, 3), "block": torch.nn.Linear(4, 4), "norm": torch.nn.LayerNorm(4)}
    )
    muon, adam = make_optimizers("muon", {"net": network}, 1e-3, 0.0)
    ids = [[id(p) for group in o.param_groups for p in group["params"]] for o in (muon, adam)]
    assert ids[0] == [id(network["block"].weight)]
    assert sorted(ids[0] + ids[1]) == sorted(id(p) for p in network.parameters())
