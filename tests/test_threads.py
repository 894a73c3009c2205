import pytest
import torch

from magicdance_core import MagicDancePipeline
from magicdance_core import threads as module
from magicdance_core.threads import SMALL, SMALL_SAMPLING, cores, made_with, threads, threads_for


@pytest.fixture(autouse=True)
def nobody_has_chosen(monkeypatch):
    for name in module.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(module, "AT_IMPORT", torch.get_num_threads())


def layer(parameters: int) -> torch.nn.Linear:
    return torch.nn.Linear(parameters, 1, device="meta")


def test_small_networks_get_one_thread_and_large_ones_no_more_than_there_are_cores(monkeypatch):
    with threads(cores() + 2):
        monkeypatch.setattr(module, "AT_IMPORT", torch.get_num_threads())
        assert threads_for(torch.nn.Linear(4, 4), None) == 1
        assert threads_for(layer(SMALL)) == cores()
        assert threads_for(layer(SMALL), small=SMALL_SAMPLING) == 1
        assert threads_for(layer(SMALL_SAMPLING), small=SMALL_SAMPLING) == cores()


def test_what_somebody_has_chosen_stands(monkeypatch):
    with threads(3):
        assert threads_for(layer(4)) == threads_for(layer(SMALL)) == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert threads_for(layer(4)) == torch.get_num_threads()


def test_the_number_is_put_back():
    before = torch.get_num_threads()
    with threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before
    seen = [torch.get_num_threads() for _ in made_with(before + 1, range(2))]
    assert seen == [before, before]


def test_every_way_to_sample_chooses_and_puts_back(tiny, monkeypatch):
    """Commands and nodes all come through `run` and `stream`."""
    with threads(2):
        monkeypatch.setattr(module, "AT_IMPORT", 2)
        seen = set()
        for network in (tiny.unet, tiny.vae.encoder, tiny.vae.decoder, tiny.pose.controlnet_cond_embedding):
            network.register_forward_pre_hook(lambda *args: seen.add(torch.get_num_threads()))
        pipe, poses = MagicDancePipeline(tiny), torch.rand(2, 3, 16, 16)
        pipe(torch.rand(3, 16, 16), poses, 1)
        for _ in pipe.stream(torch.rand(3, 16, 16), list(poses), 2, num_inference_steps=1):
            assert torch.get_num_threads() == 2
        assert seen == {1} and torch.get_num_threads() == 2
