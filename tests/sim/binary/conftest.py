"""Binarized networks by hand on small cores: results are the golden model's, and those of plain loops."""

import itertools
from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from celosia.host.compile import compile_network
from celosia.host.models.binary import BinaryConv, BinaryDense, as_conv
from celosia.host.models.integers import integer_range
from celosia.host.models.ir import Network
from celosia.host.program import Program
from celosia.hw.binary.config import BinaryConfig
from celosia.hw.config import AcceleratorConfig
from celosia.hw.protocol import RUN_FIELDS
from celosia.sim import reference
from celosia.sim.core import Stalls

PATIENCE = 20_000  # cycles
NEVER, ALWAYS = 2**31 - 1, -(2**31)  # thresholds
DEPTHS = {"program_depth": 512, "input_depth": 1024, "activation_depth": 1024, "output_depth": 2048}
CONFIGS = {
    # Two groups of sums, four to a word; two of its folds fill a word.
    "4 × 8": AcceleratorConfig(
        engine=BinaryConfig(pes=4, simd=8, activation_width=4, accumulator_width=12, output_width=4, post_lanes=2),
        weight_depth=512,
        parameter_depth=512,
        **DEPTHS,
    ),
    # A drain of many steps; sums take several words; folds and words of channels that end apart; little memory.
    "6 × 4": AcceleratorConfig(
        engine=BinaryConfig(pes=6, simd=4, activation_width=8, accumulator_width=13, output_width=8, post_lanes=1),
        weight_depth=96,
        parameter_depth=4096,
        watchdog_cycles=1000,
        **DEPTHS,
    ),
    # All sums at a time; a word is wider than a sum; activations of one bit are never doubled.
    "3 × 33": AcceleratorConfig(
        engine=BinaryConfig(pes=3, simd=33, activation_width=1, accumulator_width=8, output_width=1, post_lanes=3),
        weight_depth=256,
        parameter_depth=512,
        **DEPTHS,
    ),
}
EQUAL = AcceleratorConfig(  # a sum is as wide as a word
    engine=BinaryConfig(pes=2, simd=16, activation_width=8, accumulator_width=13, output_width=8),
    weight_depth=256,
    parameter_depth=512,
    **DEPTHS,
)

Layer = BinaryDense | BinaryConv


def draw_weights(rng: np.random.Generator, shape: tuple[int, ...], *, ternary: bool = False) -> np.ndarray:
    weights = rng.choice([-1, 0, 1] if ternary else [-1, 1], shape)
    if ternary:
        weights.flat[0] = 0
    return weights


def outputs_of(rng: np.random.Generator, dtype: str, N: int, spread: float) -> dict[str, Any]:
    """Draw thresholds about as far from 0 as sums are, for all values of a type; without one: none, and sums."""
    if dtype == "int32":
        return {"output_dtype": dtype}
    low, high = integer_range(dtype)
    T = (high - low) // (2 if dtype == "bipolar" else 1)
    return {"thresholds": np.sort(rng.normal(0, spread, (N, T)).round(), 1).astype(int), "output_dtype": dtype}


def dense(K: int, N: int, *, seed: int = 1, dtype: str = "bipolar", out: str = "bipolar", **changes: Any) -> Layer:
    """Return a layer of random weights and thresholds but for the fields given; `ternary` makes some weights 0."""
    rng = np.random.default_rng(seed)
    fields = {
        "name": f"{K} to {N}",
        "weights": draw_weights(rng, (K, N), ternary=changes.pop("ternary", False)),
        "input_dtype": dtype,
        **outputs_of(rng, out, N, spread(dtype, K)),
    }
    return BinaryDense(**(fields | changes))


def conv(
    size: tuple[int, int],
    kernel: tuple[int, int],
    C: int,
    N: int,
    *,
    seed: int = 1,
    dtype: str = "bipolar",
    out: str = "bipolar",
    **changes: Any,
) -> Layer:
    """Return a convolution, as `dense` does."""
    rng = np.random.default_rng(seed)
    fields = {
        "name": f"{kernel} on {size}",
        "weights": draw_weights(rng, (*kernel, C, N), ternary=changes.pop("ternary", False)),
        "input_size": size,
        "input_dtype": dtype,
        **outputs_of(rng, out, N, spread(dtype, kernel[0] * kernel[1] * C)),
    }
    return BinaryConv(**(fields | changes))


def spread(dtype: str, K: int) -> float:
    low, high = integer_range(dtype)
    return float(max(-low, high) * np.sqrt(K) / 2 + 0.5)


def inputs_of(layer: Layer, count: int, *, seed: int = 1) -> np.ndarray:
    """Draw inputs of a layer: all of the smallest value, all of the largest, the rest at random."""
    low, high = integer_range(layer.input_dtype)
    step = 2 if layer.input_dtype == "bipolar" else 1
    x = low + step * np.random.default_rng(seed).integers(0, (high - low) // step + 1, (count, *layer.input_shape))
    x[: 2 * (count > 3) : 2], x[1 : 2 * (count > 3) : 2] = low, high
    return x


def plain(layers: Sequence[Layer], x: np.ndarray) -> np.ndarray:
    """Return the outputs of a network, (n, N): output by output, as the docstrings of the layers have it."""
    image: tuple[int, ...] | None = None
    for layer in layers:
        made = as_conv(layer, image)
        x = np.array([one_image(made, each.reshape(made.input_shape)) for each in x])
        image = layer.output_shape if len(layer.output_shape) == 3 else None
    return x.reshape(len(x), -1)


def one_image(layer: BinaryConv, x: np.ndarray) -> np.ndarray:
    top, left, _, _ = layer.padding
    (height, width), N = layer.conv_size, layer.weights.shape[3]
    outputs = np.zeros((height, width, N), dtype=np.int64)
    for row, col in itertools.product(range(height), range(width)):
        sums = np.zeros(N, dtype=np.int64)
        for i, j in itertools.product(*map(range, layer.kernel)):
            y, z = row * layer.strides[0] + i - top, col * layer.strides[1] + j - left
            inside = 0 <= y < x.shape[0] and 0 <= z < x.shape[1]
            pixel = x[y, z] if inside else np.full(x.shape[2], layer.pad_value)
            sums += (pixel[:, None] * layer.weights[i, j].astype(np.int64)).sum(axis=0)
        outputs[row, col] = sums
    if layer.thresholds is None:
        return outputs
    counts = (outputs[..., None] >= layer.thresholds).sum(axis=-1)
    pooled = np.zeros(layer.output_shape, dtype=np.int64)
    for row, col in itertools.product(*map(range, layer.output_shape[:2])):
        (rows, cols), (down, across) = layer.pool, layer.pool_strides
        pooled[row, col] = counts[row * down :, col * across :][:rows, :cols].max(axis=(0, 1))
    return layer.output_minimum + layer.output_step * pooled


def compile_layers(config: AcceleratorConfig, layers: Sequence[Layer], batch: int) -> Program:
    named = [replace(layer, name=f"{layer.name}, {index}") for index, layer in enumerate(layers)]
    network = Network(name="by hand", layers=named, input_shape=layers[0].input_shape)
    return compile_network(network, config, batch=batch)


class Bench:
    """Compiles, runs and compares."""

    def __init__(self, promise: SimpleNamespace) -> None:
        self._promise = promise

    def check(
        self,
        layers: Layer | Sequence[Layer],
        x: Any = 5,
        *,
        config: AcceleratorConfig,
        batch: int | None = None,
        stalls: Stalls | None = None,
        stream: bool = False,
    ) -> Any:
        """Run a network on inputs (n, …) or on so many random ones, as a program for `batch` of them."""
        layers = [layers] if isinstance(layers, Layer) else list(layers)
        x = inputs_of(layers[0], x) if isinstance(x, int) else np.asarray(x)
        program = compile_layers(config, layers, batch or len(x))
        self._promise.load(program, stalls)
        outcome = self._promise.run(program, x, stream or len(x) > program.vectors, stalls)
        np.testing.assert_array_equal(outcome.outputs.reshape(len(x), -1), plain(layers, x))
        return outcome

    def core(self, config: AcceleratorConfig) -> Any:
        """Return the simulated core."""
        return self._promise.core(config)

    def again(self, program: Program, x: Any) -> None:
        """Run a loaded program on inputs that are in their memory, as soon as the core is ready, without a reset."""
        core = self._promise.core(program.config)
        assert len(x) == program.vectors
        core.sim.run(1)  # of an abort, maybe
        assert core.sim.get("ready")
        parameters = program.run_parameters(1, stream=False)
        packed = offset = 0
        for name, width in RUN_FIELDS.items():
            packed |= getattr(parameters, name) << offset
            offset += width
        core.sim.set("run", packed)
        if program.weight_stream is not None:
            core.sim.stall("i_weights", 0)  # whatever ran before
            core.sim.send("i_weights", program.weight_stream)
        core.sim.set("run_start", 1)
        core.sim.run(1)
        core.sim.set("run_start", 0)
        for _ in range(PATIENCE // 64):
            core.sim.run(64)
            if not core.sim.get("busy"):
                break
        assert not core.sim.get("busy")
        outputs = program.unpack_outputs(core.read("outputs", program.output_words), len(x))
        np.testing.assert_array_equal(outputs, reference.golden(program, x))
        assert core.causes() == reference.predict(program, x).causes


@pytest.fixture
def bench(promise: SimpleNamespace) -> Bench:
    return Bench(promise)


@pytest.fixture(params=CONFIGS)
def config(request: pytest.FixtureRequest) -> AcceleratorConfig:
    """Each core."""
    found: AcceleratorConfig = CONFIGS[request.param]
    return found


@pytest.fixture(scope="session")
def make() -> SimpleNamespace:
    """Configs, layers, inputs and programs."""
    return SimpleNamespace(
        small=CONFIGS["4 × 8"],
        many=CONFIGS["6 × 4"],
        one=CONFIGS["3 × 33"],
        equal=EQUAL,
        dense=dense,
        conv=conv,
        weights=draw_weights,
        inputs=inputs_of,
        plain=plain,
        compile=compile_layers,
        never=NEVER,
        always=ALWAYS,
    )
