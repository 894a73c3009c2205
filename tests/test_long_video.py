from magicdance_core.long_video import benchmark_lengths


def test_latents_alive_do_not_grow_with_the_length():
    short, long = benchmark_lengths([40, 80])
    assert short["alive"] == long["alive"] and short["first"] == long["first"]
    assert long["megabytes"] < 1.05 * short["megabytes"]
