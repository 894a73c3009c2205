import torch

from magicdance_core.threads import SMALL, cores, threads, threads_for


def test_small_networks_get_one_thread_and_large_ones_no_more_than_there_are_cores():
    with threads(cores() + 2):
        assert threads_for(torch.nn.Linear(4, 4), None) == 1
        assert threads_for(torch.nn.Linear(SMALL, 1, device="meta")) == cores()
    with threads(1):
        assert threads_for(torch.nn.Linear(SMALL, 1, device="meta")) == 1


def test_the_number_is_put_back():
    before = torch.get_num_threads()
    with threads(1):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before
