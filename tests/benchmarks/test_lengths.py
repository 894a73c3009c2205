from benchmarks.lengths import measure_lengths, plot_lengths


def test_latents_alive_do_not_grow_with_the_length():
    short, long = measure_lengths([40, 80])
    assert short["alive"] == long["alive"] and short["first"] == long["first"]
    assert long["megabytes"] < 1.05 * short["megabytes"]


def test_plot_labels_lengths_and_memory():
    plot = plot_lengths([{"frames": 100, "megabytes": 890}, {"frames": 10_000, "megabytes": 1891}])
    assert plot.startswith("<svg") and "10,000" in plot and "1,891 MB" in plot
