import functools
import importlib.util
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from celosia.host.models.ir import Network
from celosia.host.models.onnx import read_onnx
from celosia.sim.golden.network import tensors

_SPEC = importlib.util.spec_from_file_location("onnx_exact", Path(__file__).with_name("exact.py"))  # no package
assert _SPEC is not None
assert _SPEC.loader is not None
exact = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(exact)


def write(nodes, arrays, shape, opset: int = 17, elem_type: int = TensorProto.FLOAT) -> onnx.ModelProto:
    """A graph from x to y, which is what the last node gives; `arrays` are its initializers."""
    graph = helper.make_graph(
        [*nodes, helper.make_node("Identity", list(nodes[-1].output), ["y"])],
        "graph",
        [helper.make_tensor_value_info("x", elem_type, list(shape))],
        [onnx.ValueInfoProto(name="y")],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in arrays.items()],
    )
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def run(
    source: Path | onnx.ModelProto, inputs: np.ndarray, names: list[str], optimized: bool = False
) -> dict[str, np.ndarray]:
    """Tensors of a graph as onnxruntime computes them, operator by operator unless `optimized`."""
    model = source if isinstance(source, onnx.ModelProto) else onnx.load(source)
    present = {output.name for output in model.graph.output}
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in present)
    options = onnxruntime.SessionOptions()
    levels = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = levels.ORT_ENABLE_ALL if optimized else levels.ORT_DISABLE_ALL
    options.log_severity_level, options.intra_op_num_threads = 3, 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return dict(zip(names, session.run(names, {"x": inputs}), strict=True))


def golden(network: Network, integers: np.ndarray) -> np.ndarray:
    """What the golden model makes of integer inputs in the file's layout."""
    return tensors(network, network.layer_inputs(integers))[-1]


class Graph:
    """A quantized graph that is written one operator at a time, from float inputs "x" of shape (batch, …)."""

    def __init__(self, shape, rng: np.random.Generator, dtype: str = "int8", *, opset: int = 17, bits: int = 8) -> None:
        self.shape, self.rng, self.dtype, self.opset = tuple(map(int, shape)), rng, dtype, opset
        self.bits = bits  # of weights
        self.nodes: list[Any] = []
        self.arrays: dict[str, np.ndarray] = {}
        self.grids: dict[str, list[str]] = {}  # of integers
        self.scales: dict[str, np.float32] = {}  # of reals that were dequantized

    def constant(self, array) -> str:
        name = f"c{len(self.arrays)}"
        self.arrays[name] = np.asarray(array)
        return name

    def add(self, kind: str, *inputs: str, domain: str = "", **attributes) -> str:
        output = f"t{len(self.nodes)}"
        node = helper.make_node(kind, list(inputs), [output], name=f"{kind}_{output}", domain=domain, **attributes)
        self.nodes.append(node)
        return output

    def grid(self, scale: float | None = None, zero: int | None = None) -> list[str]:
        """Names of a scale and a zero point, at random if they are not given."""
        scale = self.rng.uniform(0.01, 0.1) if scale is None else scale
        zero = self.rng.integers(-20, 20) + (128 if self.dtype == "uint8" else 0) if zero is None else zero
        return [self.constant(np.float32(scale)), self.constant(np.dtype(self.dtype).type(zero))]

    def quantized(self, x: str, scale: float | None = None, zero: int | None = None) -> str:
        """Integers of reals."""
        grid = self.grid(scale, zero)
        output = self.add("QuantizeLinear", x, *grid)
        self.grids[output] = grid
        return output

    def reals(self, integers: str) -> str:
        """The reals that integers stand for."""
        output = self.add("DequantizeLinear", integers, *self.grids[integers])
        self.scales[output] = self.arrays[self.grids[integers][0]][()]
        return output

    def parameters(self, integers: str) -> tuple[float, int]:
        """Scale and zero point of integers."""
        scale, zero = (self.arrays[name] for name in self.grids[integers])
        return float(scale), int(zero)

    def clip(self, low: float, high: float) -> list[str]:
        """Names of bounds."""
        return [self.constant(np.float32(bound)) for bound in (low, high)]

    def both(self, x: str, scale: float | None = None, zero: int | None = None) -> str:
        """Reals, quantized and dequantized."""
        return self.reals(self.quantized(x, scale, zero))

    def integer(self, kind: str, *inputs: str, scale: float | None = None, domain: str = "", **attributes) -> str:
        """An operator on integers, whose output has a grid that its last two inputs are."""
        grid = self.grid(scale)
        output = self.add(kind, *inputs, *grid, domain=domain, **attributes)
        self.grids[output] = grid
        return output

    def weights(self, shape, per_channel: bool = False, outputs: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """int8 weights and their float32 scales, one or one for each output along axis `outputs`."""
        scales = self.rng.uniform(0.002, 0.02, shape[outputs] if per_channel else ()).astype(np.float32)
        step = 2 ** (8 - self.bits)
        return (self.rng.integers(-127, 128, shape) // step).astype(np.int8), np.float32(step * scales)

    def product(self, kind: str, x: str, shape, per_channel: bool = False, outputs: int = 0, **attributes) -> str:
        """Conv or Gemm of reals by quantized weights, with a bias in accumulator units."""
        weights, scales = self.weights(shape, per_channel, outputs)
        names = [self.constant(weights), self.constant(scales), self.constant(np.zeros(scales.shape, np.int8))]
        made = self.add("DequantizeLinear", *names, axis=outputs)
        units = np.float32(self.scales[x] * scales)
        bias = [self.constant(self.rng.integers(-3000, 3000, shape[outputs]).astype(np.int32)), self.constant(units)]
        bias.append(self.constant(np.zeros(units.shape, np.int32)))
        return self.add(kind, x, made, self.add("DequantizeLinear", *bias, axis=0), **attributes)

    def inputs(self, count: int = 3) -> np.ndarray:
        """Normal inputs, the same ones every time."""
        return np.random.default_rng(count).normal(size=(count, *self.shape)).astype(np.float32)

    def values(self, x: str) -> np.ndarray:
        """What a tensor holds for some inputs."""
        return run(self.model(), self.inputs(), [x])[x]

    def flat(self, x: str) -> str:
        """Vectors, of the same scale."""
        output = self.add("Flatten", x)
        self.scales[output] = self.scales[x]
        return output

    def fitted(self, x: str) -> str:
        """Reals, quantized with a scale that fits some inputs, and dequantized."""
        return self.both(x, float(self.values(x).std()) / 40)

    def model(self, **options) -> onnx.ModelProto:
        """The graph, whose output is what the last node gives."""
        return write(self.nodes, self.arrays, ("n", *self.shape), **{"opset": self.opset} | options)

    def save(self, path: Path, **options) -> Path:
        onnx.save(self.model(**options), path)
        return path


def check(path: Path, inputs: np.ndarray, differing: float = 2e-3) -> Network:
    """Read a file whose input and output are reals, and hold it against exact arithmetic and onnxruntime.

    `differing` is the share of outputs that may differ from onnxruntime's, by one step.
    """
    network = read_onnx(path)
    assert isinstance(network, Network)
    expected = exact.Exact(path, inputs).output
    expected = expected.terms[0][0] + network.output_zero_point
    got = golden(network, network.quantize_input(inputs))
    assert got.shape == expected.shape
    assert np.array_equal(got, expected), f"{(got != expected).sum()} of {got.size} differ"
    assert got.min() < got.max(), "the outputs are too uniform to compare"
    apart = np.abs(network.dequantize_output(got) - run(path, inputs, ["y"])["y"]) / network.output_scale
    assert apart.max() < 1.01
    assert np.mean(apart > 0.01) <= differing
    return network


@pytest.fixture(scope="session")
def reference(seven_bit_weights) -> SimpleNamespace:
    """Exact arithmetic, onnxruntime and the golden model."""
    graph = functools.partial(Graph, bits=7 if seven_bit_weights else 8)
    return SimpleNamespace(Exact=exact.Exact, Graph=graph, run=run, golden=golden, check=check)
