import torch

from benchmarks.lengths import measure_length, measure_lengths, plot_lengths


def test_latents_alive_do_not_grow_with_the_length():
    short, long = map(measure_length, (40, 80))
    assert all(short[key] == long[key] for key in ("alive", "first", "decoded"))
    assert long["megabytes"] < 1.05 * short["megabytes"]


def test_each_length_is_measured_in_a_new_process():
    before = torch.get_rng_state()
    (row,) = measure_lengths([1])
    assert row["frames"] == row["decoded"] == 1 and row["megabytes"] > 100
    assert torch.equal(torch.get_rng_state(), before)  # a measurement seeds its process


def test_plot_labels_lengths_and_memory():
    plot = plot_lengths([{"frames": 100, "megabytes": 890}, {"frames": 10_000, "megabytes": 1891}])
    assert plot.startswith("<svg") and "10,000" in plot and "1,891 MB" in plot
