"""Windows over images: padding, strides, kernels, pooling, and windows that the host puts together."""

import numpy as np
import pytest

SIDES = {"top": (1, 0, 0, 0), "left": (0, 1, 0, 0), "bottom": (0, 0, 1, 0), "right": (0, 0, 0, 1)}
PADDINGS = {
    **SIDES,
    "all": (1, 1, 1, 1),
    "all but a corner": (2, 2, 2, 2),  # of a kernel of 3 × 3
    "top and left": (2, 1, 0, 0),
    "bottom and right": (0, 0, 1, 2),
    "uneven": (2, 0, 1, 1),
}


@pytest.fixture
def on_device(bench, make):
    """A check of a convolution that the device does window by window: the second layer of a network."""

    def check(layer, x=4, **run):
        before = make.conv(layer.input_size, (1, 1), 3, layer.input_shape[2], out=layer.input_dtype)
        return bench.check([before, layer], x, **run)

    return check


@pytest.mark.parametrize("padding", PADDINGS.values(), ids=PADDINGS.keys())
@pytest.mark.parametrize("out", ["bipolar", "int32"])
def test_padding_that_adds_nothing(on_device, make, config, padding, out):
    """Bipolar inputs have no 0: what is outside is left out of the sum."""
    for ternary in (False, True):
        layer = make.conv((3, 4), (3, 3), 5, 6, padding=padding, out=out, ternary=ternary)
        outcome = on_device(layer, config=config)
        assert outcome.program.layers[1].arranged.mutes


@pytest.mark.parametrize("corner", ["top left", "top right", "bottom left", "bottom right"])
def test_a_window_of_one_pixel_of_the_image(on_device, make, config, corner):
    """All others are outside; the correction is eight pixels' worth."""
    top, left = 2 * corner.startswith("top"), 2 * corner.endswith("left")
    layer = make.conv((3, 3), (3, 3), 9, 4, padding=(top, left, 2 - top, 2 - left), strides=(2, 2), out="int32")
    outcome = on_device(layer, config=config)
    images = outcome.outputs.reshape(-1, 2, 2, 4)
    assert np.abs(images[:, 0 if top else 1, 0 if left else 1]).max() <= 9


@pytest.mark.parametrize("padding", PADDINGS.values(), ids=PADDINGS.keys())
@pytest.mark.parametrize(
    ("dtype", "pad_value"),
    [
        ("bipolar", -1),
        ("bipolar", 1),
        ("uint4", 0),
        ("uint4", 5),
        ("uint4", 15),
        ("int4", 0),
        ("int4", -8),
        ("int3", 3),
    ],
)
def test_padding_with_a_value(on_device, make, padding, dtype, pad_value):
    """Its code is stored as 0: some bit planes are stored, and taken, inverted."""
    layer = make.conv((3, 4), (3, 3), 5, 6, dtype=dtype, padding=padding, pad_value=pad_value, out="int32")
    outcome = on_device(layer, 3, config=make.small)
    arranged = outcome.program.layers[1].arranged
    assert not arranged.mutes
    assert arranged.codes.minimum + arranged.codes.step * arranged.codes.flip == pad_value


def test_an_image_that_is_padded_at_each_of_several_layers(bench, make, config):
    """Each layer stores what the next one is padded with as 0, also in lanes that have no channel."""
    dtype = "int2" if config.engine.activation_width > 1 else "bipolar"
    around = {"padding": (1, 1, 1, 1), "dtype": dtype}
    layers = [
        make.conv((4, 4), (3, 3), 2, 5, padding=(1, 1, 1, 1), out=dtype),
        make.conv((4, 4), (2, 2), 5, 7, out=dtype, seed=2, **around),
        make.conv((5, 5), (2, 2), 7, 3, out="bipolar", seed=3, **around),
        make.conv((6, 6), (3, 3), 3, 3, out="int32", seed=4, padding=(1, 1, 1, 1), pad_value=-1),
    ]
    bench.check(layers, 2, config=config)


@pytest.mark.parametrize("strides", [(1, 2), (2, 1), (3, 2), (4, 5), (7, 1)])
@pytest.mark.parametrize("kernel", [(1, 1), (2, 3)])
def test_strides_within_and_beyond_the_kernel(on_device, make, config, strides, kernel):
    on_device(make.conv((8, 7), kernel, 3, 4, strides=strides, out="int32"), 2, config=config)
    padding = tuple(side - 1 for side in (*kernel, *kernel))
    on_device(make.conv((8, 7), kernel, 3, 4, strides=strides, out="int32", padding=padding), 2, config=config)


@pytest.mark.parametrize("size", [(1, 1), (1, 4), (5, 1), (3, 4)])
def test_a_kernel_as_large_as_the_image(on_device, make, config, size):
    outcome = on_device(make.conv(size, size, 5, 6, out="int32"), config=config)
    assert outcome.program.network.layers[1].output_shape == (1, 1, 6)


@pytest.mark.parametrize("side", [1, 2])
def test_a_kernel_larger_than_the_image(on_device, make, config, side):
    """Only with its padding does it fit."""
    on_device(make.conv((side, side), (3, 3), 5, 6, padding=(1, 1, 1, 1), out="int32"), config=config)


@pytest.mark.parametrize(
    ("pool", "pool_strides"),
    [
        ((2, 2), (2, 2)),
        ((3, 3), (2, 2)),  # overlapping
        ((2, 2), (3, 3)),  # not all are looked at
        ((1, 3), (1, 1)),
        ((3, 1), (2, 1)),
        ((1, 1), (2, 3)),
        ((6, 7), (6, 7)),  # the whole image
        ((4, 4), (4, 4)),  # not dividing it
    ],
)
def test_pooling(on_device, make, config, pool, pool_strides):
    out = "bipolar" if config.engine.output_width == 1 else "int3"
    N = config.engine.pes + 1  # two folds: each is pooled for itself
    layer = make.conv((7, 8), (2, 2), 5, N, pool=pool, pool_strides=pool_strides, out=out)
    on_device(layer, 2, config=config)


@pytest.mark.parametrize("where", range(4))
def test_the_largest_may_come_at_any_place_of_the_window(bench, make, config, where):
    """One of four is +1: the first, which replaces what is left of the window before, or any later one."""
    N = config.engine.pes + 1
    x = np.full((1, 4, 4, 3), -1)
    x[:, where // 2 :: 2, where % 2 :: 2] = 1
    x[0, 2:, 2:] = -1  # the last window has none, and must not have one of those before
    layers = [
        make.conv((4, 4), (1, 1), 3, C, weights=np.ones((1, 1, 3, C), int), thresholds=np.full((C, 1), 3), pool=pool)
        for C, pool in ((3, (1, 1)), (N, (2, 2)))
    ]
    outcome = bench.check(layers, x, config=config)
    assert outcome.outputs.reshape(2, 2, N)[..., 0].tolist() == [[1, 1], [1, -1]]


def test_padding_strides_and_pooling_together(on_device, make, config):
    out = "bipolar" if config.engine.output_width == 1 else "uint2"
    for ternary in (False, True):
        layer = make.conv(
            (6, 5), (3, 2), 4, 9, padding=(2, 1, 1, 0), strides=(2, 1), pool=(2, 3), pool_strides=(1, 2), out=out,
            ternary=ternary,
        )  # fmt: skip
        on_device(layer, 3, config=config)


@pytest.mark.parametrize("padding", [(1, 1, 1, 1), (0, 0, 2, 2), (2, 2, 0, 0)])
@pytest.mark.parametrize("pool_strides", [(1, 1), (1, 2), (2, 1), (3, 3)])
def test_pooling_of_windows_that_reach_beyond_the_image(on_device, make, config, padding, pool_strides):
    """Each window of a pool is where the strides of both have it, also where what is outside is told from inside."""
    for strides in ((1, 1), (2, 1)):
        around = {"padding": padding, "pool": (2, 2), "pool_strides": pool_strides, "strides": strides}
        on_device(make.conv((6, 5), (3, 3), 4, 5, **around), 3, config=config)


@pytest.mark.parametrize(
    ("kernel", "channels", "together"),
    [
        ((3, 3), 3, (3, 3)),  # 27 of 33
        ((3, 3), 4, (1, 3)),  # 36 are too many, rows of 12 not
        ((3, 3), 11, (1, 3)),  # rows of 33
        ((3, 3), 12, (1, 1)),
        ((1, 1), 3, (1, 1)),
        ((5, 1), 3, (5, 1)),
        ((1, 5), 7, (1, 1)),
    ],
)
@pytest.mark.parametrize("strides", [(1, 1), (2, 3)])
def test_windows_that_the_host_puts_together(bench, make, kernel, channels, together, strides):
    """Of a first convolution: where they fit a word."""
    layer = make.conv((7, 6), kernel, channels, 4, strides=strides, out="int32")
    outcome = bench.check(layer, 3, config=make.one)
    assert outcome.program.layers[0].arranged.together == together


@pytest.mark.parametrize(
    ("padding", "pad_value", "together"),
    [
        ((1, 1, 1, 1), -1, (3, 3)),
        ((2, 0, 1, 2), 1, (3, 3)),
        ((1, 1, 1, 1), 0, (1, 1)),  # nothing but the device can add nothing
        ((1, 0, 0, 0), 0, (1, 3)),
        ((2, 0, 1, 0), 0, (1, 3)),
        ((0, 0, 0, 1), 0, (1, 1)),
    ],
)
@pytest.mark.parametrize("strides", [(1, 1), (2, 1), (1, 3)])
def test_padded_windows_that_the_host_puts_together(bench, make, padding, pad_value, together, strides):
    layer = make.conv((5, 4), (3, 3), 3, 4, padding=padding, pad_value=pad_value, strides=strides, out="int32")
    outcome = bench.check(layer, 3, config=make.one)
    assert outcome.program.layers[0].arranged.together == together


def test_rows_that_the_host_puts_together_are_padded_by_both(bench, make):
    """Left and right by the host, above and below by the device."""
    for dtype, value in (("int4", 0), ("uint4", 7), ("bipolar", -1)):
        layer = make.conv((5, 6), (4, 2), 4, 5, dtype=dtype, padding=(1, 1, 2, 0), pad_value=value, pool=(2, 2))
        outcome = bench.check(layer, config=make.small)
        arranged = outcome.program.layers[0].arranged
        assert (arranged.together, arranged.conv.padding) == ((1, 2), (1, 0, 2, 0))


@pytest.mark.parametrize("out", ["bipolar", "int32"])
def test_dense_behind_an_image(bench, make, config, out):
    """Its inputs are the pixels' channels in C order; each pixel begins a word of its own."""
    for N in (1, 7, config.engine.simd):
        layers = [make.conv((4, 3), (2, 2), 2, N), make.dense(3 * 2 * N, 5, out=out)]
        bench.check(layers, config=config)


def test_dense_on_an_image_that_is_the_networks_input(bench, make, config):
    layers = [make.conv((3, 3), (1, 1), 3, 3), make.dense(27, 4), make.dense(4, 9, out="int32")]
    bench.check(layers, config=config)
