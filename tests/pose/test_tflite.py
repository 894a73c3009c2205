"""The reader of TFLite files and its operators, against numbers worked out by hand."""

import numpy as np
import pytest
import torch
from tflite_builder import (
    ADD,
    AVERAGE_POOL,
    CONCAT,
    CONV,
    CUSTOM,
    DENSE,
    DENSIFY,
    DEPTH_TO_SPACE,
    DEPTHWISE,
    DEQUANTIZE,
    HARD_SWISH,
    LOGISTIC,
    MEAN,
    MUL,
    PAD,
    POOL,
    PRELU,
    RELU,
    RESHAPE,
    RESIZE,
    SAME,
    SLICE,
    VALID,
    flexbuffer,
    ints,
    options,
    sparsity,
    tflite,
)  # fmt: skip

from magicdance_core.errors import InputError
from magicdance_core.pose.detectors.flatbuffers import flexbuffer_map
from magicdance_core.pose.detectors.tflite_custom import MapPoints, SampleRegion
from magicdance_core.pose.detectors.tflite_file import densify, fold_weights, read_graph
from magicdance_core.pose.detectors.tflite_network import TFLiteNetwork


def run(code, x, made, *constants, how=None):
    """The answer of a file with one operator, whose output has the shape `made`."""
    x = np.asarray(x, np.float32)
    constants = [c if c.dtype == np.int32 else c.astype(np.float32) for c in map(np.asarray, constants)]
    taken = [0, *range(2, 2 + len(constants))]
    data = tflite([x.shape, made, *constants], [(code, taken, [1], how or {})], [0], [1])
    (answer,) = TFLiteNetwork(data)(torch.from_numpy(x))
    assert answer.shape == made
    return answer.numpy()


def column(*values):
    return np.array(values, np.float32).reshape(1, 1, 1, -1)


GRID = np.arange(16.0).reshape(1, 4, 4, 1)


def test_same_padding_of_a_stride_has_its_odd_row_at_the_end():
    ones = np.ones((1, 3, 3, 1))
    made = run(CONV, GRID, (1, 2, 2, 1), ones, np.array([1.0]), how=options(b0=SAME, i1=2, i2=2))
    assert made.ravel().tolist() == [46, 40, 67, 51]  # sums of 3 x 3 from the top left corner, zeros beyond, plus 1


def test_same_padding_of_stride_one_is_even():
    made = run(CONV, GRID, (1, 4, 4, 1), np.ones((1, 3, 3, 1)), np.zeros(1), how=options(b0=SAME, i1=1, i2=1))
    assert made[0, 0, 0, 0] == 0 + 1 + 4 + 5 and made[0, 1, 1, 0] == 45 and made[0, 3, 3, 0] == 10 + 11 + 14 + 15


def test_valid_convolution_reaches_no_border_and_strides_are_width_then_height():
    weight = np.ones((1, 2, 2, 1))
    made = run(CONV, GRID, (1, 3, 2, 1), weight, np.zeros(1), how=options(b0=VALID, i1=2, i2=1))
    assert made.ravel().tolist() == [10, 18, 26, 34, 42, 50]


def test_pointwise_convolution_mixes_channels_and_applies_its_activation():
    weight = np.array([[1, 1], [10, -1], [-1, 0]]).reshape(3, 1, 1, 2)
    for activation, expected in ((0, [5, 17, -2]), (1, [5, 17, 0]), (3, [5, 6, 0])):
        how = options(b0=SAME, i1=1, i2=1, b3=activation)
        assert run(CONV, column(2, 3), (1, 1, 1, 3), weight, np.zeros(3), how=how).ravel().tolist() == expected


def test_depthwise_convolution_keeps_channels_apart():
    x = np.stack([GRID[..., 0], 100 * GRID[..., 0]], axis=-1)
    weight = np.stack([np.ones((3, 3)), np.eye(3)], axis=-1)[None]
    how = options(b0=SAME, i1=2, i2=2, i3=1)
    made = run(DEPTHWISE, x, (1, 2, 2, 2), weight, np.array([0.0, 7.0]), how=how)
    assert made[..., 0].ravel().tolist() == [45, 39, 66, 50]
    assert made[..., 1].ravel().tolist() == [1507, 907, 2107, 2507]  # 0 + 5 + 10, 2 + 7, 8 + 13, 10 + 15


def test_depth_to_space_puts_the_block_before_the_channel():
    made = run(DEPTH_TO_SPACE, column(*range(8)), (1, 2, 2, 2), how=options(i0=2))
    assert made.tolist() == [[[[0, 1], [2, 3]], [[4, 5], [6, 7]]]]


def test_resizing_takes_half_pixel_centres():
    x = np.array([0.0, 4.0]).reshape(1, 1, 2, 1)
    made = run(RESIZE, x, (1, 2, 4, 1), ints(2, 4), how=options(b3=1))
    assert made[0, 0, :, 0].tolist() == made[0, 1, :, 0].tolist() == [0, 1, 3, 4]
    with pytest.raises(InputError, match="resizing without half-pixel centres, which is not supported"):
        run(RESIZE, x, (1, 2, 4, 1), ints(2, 4))


def test_padding_of_space_and_of_channels():
    made = run(PAD, column(1, 2), (1, 2, 2, 3), ints(0, 0, 0, 1, 1, 0, 0, 1).reshape(4, 2))
    assert made.tolist() == [[[[0, 0, 0], [1, 2, 0]], [[0, 0, 0], [0, 0, 0]]]]


def test_reshape_keeps_the_order_of_the_file():
    x = np.arange(12.0).reshape(1, 2, 2, 3)
    assert run(RESHAPE, x, (1, 4, 3), ints(1, 4, 3)).ravel().tolist() == list(range(12))
    assert run(RESHAPE, x.reshape(1, 4, 3), (1, 2, 2, 3), ints(1, 2, 2, 3)).ravel().tolist() == list(range(12))


def test_pool_mean_dense_and_elementwise_operators():
    pool = options(b0=SAME, i1=2, i2=2, i3=2, i4=2)
    assert run(POOL, GRID, (1, 2, 2, 1), how=pool).ravel().tolist() == [5, 7, 13, 15]
    assert run(MEAN, GRID, (1, 1), ints(1, 2)).item() == 7.5
    assert run(DENSE, [[1, 2]], (1, 2), np.array([[3, 4], [5, -6]]), np.array([0.5, 0])).tolist() == [[11.5, -7]]
    assert run(DENSE, [[1, 2]], (1, 1), np.array([[5, -6]]), np.zeros(1), how=options(b0=1)).item() == 0
    assert run(LOGISTIC, [[0.0]], (1, 1)).item() == 0.5
    assert run(RELU, column(-1, 2), (1, 1, 1, 2)).ravel().tolist() == [0, 2]
    assert run(PRELU, column(-2, -2, 3), (1, 1, 1, 3), np.array([[[0.5, 2, 9]]])).ravel().tolist() == [-1, -4, 3]
    assert run(MUL, [[1, 2]], (1, 2), np.array(0.25)).tolist() == [[0.25, 0.5]]
    assert run(SLICE, [[1, 2]], (1, 2), ints(0, 0), ints(1, 2), ints(1, 1)).tolist() == [[1, 2]]
    with pytest.raises(InputError, match="a slice that leaves something out"):
        run(SLICE, [[1, 2]], (1, 1), ints(0, 0), ints(1, 1), ints(1, 1))


def test_averages_of_windows_and_of_all_pixels():
    pool = options(b0=VALID, i1=2, i2=1, i3=2, i4=3)  # strides of 2 and 1, windows of 2 x 3
    assert run(AVERAGE_POOL, GRID, (1, 2, 2, 1), how=pool).ravel().tolist() == [4.5, 6.5, 8.5, 10.5]
    whole = options(b0=VALID, i1=4, i2=4, i3=4, i4=4)
    assert run(AVERAGE_POOL, GRID, (1, 1, 1, 1), how=whole).item() == 7.5
    two = np.concatenate([GRID, -GRID], axis=-1)
    assert run(MEAN, two, (1, 1, 1, 2), ints(1, 2), how=options(b0=1)).ravel().tolist() == [7.5, -7.5]
    with pytest.raises(InputError, match="padded pooling"):
        run(AVERAGE_POOL, GRID, (1, 2, 2, 1), how=options(b0=SAME, i1=2, i2=2, i3=3, i4=3))
    with pytest.raises(InputError, match="a mean over other dimensions"):
        run(MEAN, GRID, (1, 4, 4), ints(3))


def test_hard_swish_is_zero_below_and_the_input_above():
    made = run(HARD_SWISH, column(-4, -3, -1, 0, 1, 3, 5), (1, 1, 1, 7)).ravel()
    assert made == pytest.approx([0, 0, -1 / 3, 0, 2 / 3, 3, 5], abs=1e-6)


def test_channels_are_weighed_by_a_number_each():
    shape, small = (1, 2, 1, 2), (1, 1, 1, 2)
    operators = [(MEAN, [0, 3], [1], options(b0=1)), (MUL, [0, 1], [2], {})]
    data = tflite([shape, small, shape, ints(1, 2)], operators, [0], [2])
    (made,) = TFLiteNetwork(data)(torch.tensor([[[[1.0, 10.0]], [[3.0, 30.0]]]]))
    assert made.ravel().tolist() == [2, 200, 6, 600]


@pytest.mark.parametrize("padding", [1, 2])
def test_transposed_convolution_makes_a_block_of_each_pixel(padding):
    x, weight = np.array([1.0, 10, 2, 20]).reshape(1, 1, 2, 2), np.arange(24.0).reshape(2, 2, 3, 2)
    how = "Convolution2DTransposeBias", ints(padding, 3, 2).tobytes()
    made = run(CUSTOM, x, (1, 2, 6, 2), weight, np.array([0.5, -1]), how=how)
    expected = np.zeros((1, 2, 6, 2))
    for out, row, across, pixel in np.ndindex(2, 2, 3, 2):
        expected[0, row, 3 * pixel + across, out] = x[0, 0, pixel] @ weight[out, row, across] + [0.5, -1][out]
    assert made == pytest.approx(expected)
    with pytest.raises(InputError, match="a transposed convolution that overlaps"):
        run(CUSTOM, x, (1, 2, 6, 2), weight, np.zeros(2), how=(how[0], ints(1, 2, 2).tobytes()))
    with pytest.raises(InputError, match="a transposed convolution of another version"):
        run(CUSTOM, x, (1, 2, 6, 2), weight, np.zeros(2), how=(how[0], b""))


def test_two_inputs_are_added_and_joined_in_their_order():
    x = torch.tensor([[[1.0], [2.0]]])
    shape = (1, 2, 1)
    operators = [(ADD, [0, 0], [1], options(b0=3)), (CONCAT, [1, 0], [2], options(i0=1))]
    (made,) = TFLiteNetwork(tflite([shape, shape, (1, 4, 1)], operators, [0], [2]))(4 * x)
    assert made.ravel().tolist() == [6, 6, 4, 8]


def test_operators_that_no_wanted_output_needs_are_left_out():
    shape = (1, 2)
    operators = [(RELU, [0], [1], {}), (LOGISTIC, [0], [2], {}), (RELU, [2], [3], {})]
    data = tflite([shape] * 4, operators, [0], [1, 3])
    x = torch.tensor([[-1.0, 0.0]])
    assert [len(made) for made in (TFLiteNetwork(data)(x), TFLiteNetwork(data, [0])(x))] == [2, 1]
    assert len(TFLiteNetwork(data, [0]).operators) == 1 and len(TFLiteNetwork(data, [1]).operators) == 2
    assert TFLiteNetwork(data, [1])(x)[0][0, 1] == 0.5


@pytest.mark.parametrize("kind", [1, 2, 3])
def test_sparse_weights_are_distributed_and_dequantized(kind):
    shape, values = (2, 1, 1, 3), np.array([0.5, -1.25, 7], "<f2")
    sparse = (shape, values, sparsity(shape, [0, 2, 3], [0, 2, 1], kind))
    operators = [(DENSIFY, [1], [2], {}), (DEQUANTIZE, [2], [3], {}),
                 (CONV, [0, 3, 4], [5], options(b0=SAME, i1=1, i2=1))]  # fmt: skip
    data = tflite([(1, 1, 1, 3), sparse, shape, shape, np.zeros(2, "<f4"), (1, 1, 1, 2)], operators, [0], [5])
    graph = read_graph(data)
    assert densify(graph.tensors[1]).reshape(2, 3).tolist() == [[0.5, 0, -1.25], [0, 7, 0]]
    assert [operator.code for operator in fold_weights(graph).operators] == [CONV]
    (made,) = TFLiteNetwork(data)(torch.tensor([1.0, 2.0, 4.0]).reshape(1, 1, 1, 3))
    assert made.ravel().tolist() == [-4.5, 14]


def test_other_kinds_of_sparsity_are_refused():
    shape, values = (2, 1, 1, 3), np.ones(1, "<f2")
    for how in ({"order": (0, 1, 3, 2)}, {"block": (3,)}):
        data = tflite([shape, (shape, values, sparsity(shape, [0, 1, 1], [0], **how))], [], [0], [0])
        with pytest.raises(InputError, match="unsupported sparsity"):
            densify(read_graph(data).tensors[1])


def test_options_of_custom_operators_are_read():
    values = {"scale": 1.5, "width": 16, "subset": [3, 1, 400], "back": -2}
    assert flexbuffer_map(flexbuffer(values)) == values


def test_region_of_landmarks_is_turned_upright_and_scaled():
    how = {"left_rotation_idx": 0, "right_rotation_idx": 1, "target_rotation_radians": 0.0, "subset_idxs": [0, 1, 2],
           "scale_x": 1.5, "scale_y": 1.5, "output_width": 16, "output_height": 16}  # fmt: skip
    upright = np.array([[10, 20, 5], [26, 20, 5], [18, 28, 5]])  # a box of 16 x 8 around (18, 24)
    made = run(CUSTOM, upright[None], (1, 4, 4), how=("Landmarks2TransformMatrix", flexbuffer(how)))[0]
    # 1.5 cells of the landmarks' map for each output cell in x, 0.75 in y; the middle cell corner (8, 8) is the centre.
    assert made == pytest.approx(np.array([[1.5, 0, 0, 6], [0, 0.75, 0, 18], [0, 0, 1, 0], [0, 0, 0, 1]]), abs=1e-5)
    turned = np.array([[-20, 10, 5], [-20, 26, 5], [-28, 18, 5]])  # the same by 90 degrees: x, y become -y, x
    made = run(CUSTOM, turned[None], (1, 4, 4), how=("Landmarks2TransformMatrix", flexbuffer(how)))[0]
    assert made[:2] == pytest.approx(np.array([[0, -0.75, 0, -18], [1.5, 0, 0, 6]]), abs=1e-5)


def sample(matrix):
    """The 2 x 2 output map of a map of 4 x 4 cells, 0 to 15."""
    made = SampleRegion((2, 2))(torch.tensor(GRID).permute(0, 3, 1, 2).float(), matrix[None])
    return made[0, 0].numpy().round(5).tolist()


def test_region_of_a_map_is_sampled_between_cells_and_zero_outside():
    matrix = torch.eye(4)
    assert sample(matrix) == [[0, 1], [4, 5]]
    matrix[0, 3], matrix[1, 3] = 1.5, 0.5
    assert sample(matrix) == [[3.5, 4.5], [7.5, 8.5]]
    matrix[0, 3], matrix[1, 3] = 2.5, -0.5  # the second column is at 3.5, beyond the last cell's centre
    assert sample(matrix) == [[0, 0], [4.5, 0]]


def test_points_go_through_a_matrix():
    matrix = torch.eye(4)[None]
    matrix[0, :2, :2], matrix[0, :2, 3] = torch.tensor([[0.0, 2.0], [1.0, 0.0]]), torch.tensor([10.0, 20.0])
    assert MapPoints()(torch.tensor([[[1.0, 3.0]]]), matrix).tolist() == [[[16, 21]]]


def test_unsupported_operators_and_damaged_files_are_refused():
    shape = (1, 2)
    with pytest.raises(InputError, match="unsupported operator 99"):
        run(99, [[1, 2]], shape)
    with pytest.raises(InputError, match="unsupported operator Unheard"):
        run(CUSTOM, [[1, 2]], shape, how=("Unheard", b"x"))
    with pytest.raises(InputError, match="unsupported activation 4"):
        run(DENSE, [[1, 2]], (1, 1), np.array([[5, -6]]), np.zeros(1), how=options(b0=4))
    data = tflite([shape, shape], [(RELU, [0], [1], {})], [0], [1])
    with pytest.raises(InputError, match="no TFLite file"):
        read_graph(b"PK" + data)
    whole = read_graph(data)
    for length in range(8, len(data), 3):
        try:
            assert len(read_graph(data[:length]).tensors) == len(whole.tensors)
        except InputError as error:
            assert "damaged" in str(error)
