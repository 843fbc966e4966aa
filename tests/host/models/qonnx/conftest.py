import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.core.onnx_exec import execute_onnx
from qonnx.transformation.fold_constants import FoldConstants
from qonnx.transformation.infer_shapes import InferShapes

from celosia.host.models.errors import ModelError
from celosia.host.models.ir import Network
from celosia.host.models.onnx import read_onnx
from celosia.sim.golden.binary import run_layer

QONNX = "qonnx.custom_op.general"
QUANTIZERS = ("BipolarQuant", "IntQuant", "MaxPoolNHWC", "MultiThreshold", "Quant", "XnorPopcountMatMul")


class Graph:
    """A graph that is written one operator at a time, from the input "x" of shape (batch, …)."""

    def __init__(self, shape, *, opset: int = 13, elem_type: int = TensorProto.FLOAT) -> None:
        self.shape, self.opset, self.elem_type = tuple(shape), opset, elem_type
        self.nodes: list[Any] = []
        self.arrays: dict[str, np.ndarray] = {}
        self.annotations: dict[str, str] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}  # of tensors whose shape qonnx cannot infer
        self.last, self.output_type = "x", TensorProto.FLOAT

    def constant(self, array) -> str:
        name = f"c{len(self.arrays)}"
        self.arrays[name] = np.asarray(array)
        return name

    def add(self, kind: str, *inputs, outputs: int = 1, **attributes) -> str:
        """Inputs are names of tensors or constants; without any, the last output."""
        names = [value if isinstance(value, str) else self.constant(value) for value in inputs or (self.last,)]
        domain = attributes.pop("domain", QONNX if kind in QUANTIZERS else "")
        name, take = attributes.pop("name", f"{kind}_{len(self.nodes)}"), attributes.pop("take", 0)
        results = [f"t{len(self.nodes)}_{index}" for index in range(outputs)]
        self.nodes.append(helper.make_node(kind, names, results, name=name, domain=domain, **attributes))
        self.last = results[take]
        return self.last

    def then(self, kind: str, *constants, **attributes) -> str:
        """An operator on the last output and constants."""
        return self.add(kind, self.last, *constants, **attributes)

    def quant(self, scale=1.0, zero_point=0.0, bits=2.0, *, signed=1, narrow=0, rounding_mode="ROUND", of=None) -> str:
        values = [np.asarray(value, np.float32) for value in (scale, zero_point, bits)]
        return self.add(
            "Quant", self.last if of is None else of, *values, signed=signed, narrow=narrow, rounding_mode=rounding_mode
        )

    def bipolar(self, scale=1.0) -> str:
        return self.then("BipolarQuant", np.float32(scale))

    def norm(self, channels: int, rng, *, signs=(1, -1), spread: float = 4.0, **attributes) -> str:
        gamma = rng.uniform(0.3, 2, channels) * rng.choice(signs, channels)
        beta, mean = rng.normal(0, 0.5, channels), rng.normal(0, spread, channels)
        arrays = [np.float32(each) for each in (gamma, beta, mean, rng.uniform(1, spread**2, channels))]
        return self.then("BatchNormalization", *arrays, **attributes)

    def model(self) -> Any:
        graph = helper.make_graph(
            self.nodes,
            "graph",
            [helper.make_tensor_value_info("x", self.elem_type, self.shape)],
            [helper.make_tensor_value_info(self.last, self.output_type, None)],
            [numpy_helper.from_array(array, name) for name, array in self.arrays.items()],
            value_info=[helper.make_tensor_value_info(name, 1, shape) for name, shape in self.shapes.items()],
        )
        for tensor, text in self.annotations.items():
            entry = onnx.StringStringEntryProto(key="finn_datatype", value=text)
            graph.quantization_annotation.append(
                onnx.TensorAnnotation(tensor_name=tensor, quant_parameter_tensor_names=[entry])
            )
        opsets = [helper.make_opsetid("", self.opset), helper.make_opsetid(QONNX, 1)]
        opsets.append(helper.make_opsetid("qonnx.custom_op.channels_last", self.opset))
        return helper.make_model(graph, opset_imports=opsets, ir_version=8)

    def save(self, path: Path) -> Path:
        onnx.save(self.model(), path)
        return path


def reference(model: Any, inputs: np.ndarray) -> np.ndarray:
    """What qonnx's own execution gives, all inputs in one batch."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        graph = ModelWrapper(model, make_deepcopy=True)
        graph = graph.transform(InferShapes()).transform(FoldConstants([])).transform(InferShapes())
        return execute_onnx(graph, {graph.graph.input[0].name: inputs})[graph.graph.output[0].name]


def golden(network: Network, inputs: np.ndarray) -> np.ndarray:
    """Integers of the last layer."""
    values = network.layer_inputs(network.quantize_input(inputs.reshape(len(inputs), *network.input_shape)))
    for layer in network.layers:
        values = run_layer(layer, values)
    return values


@pytest.fixture
def equal(tmp_path):
    """Reads a graph and holds the golden model's outputs against the reference's; returns the network."""

    def check(graph: Graph, inputs: np.ndarray, *, exact: bool = True) -> Network:
        network = read_onnx(graph.save(tmp_path / "network.onnx"))
        assert isinstance(network, Network)
        expected = reference(graph.model(), inputs)
        given = network.dequantize_output(golden(network, inputs)).reshape(expected.shape)
        if exact:
            assert np.array_equal(given, expected)
        else:
            assert np.allclose(given, expected, rtol=1e-5, atol=1e-5)
        return network

    return check


@pytest.fixture
def refused(tmp_path):
    """Reads a graph, which has to be refused, and returns the sentence."""

    def check(graph: Graph) -> str:
        path = graph.save(tmp_path / "network.onnx")
        with pytest.raises(ModelError) as caught:
            read_onnx(path)
        sentence = str(caught.value)
        assert sentence.startswith(f"{path}: ")
        assert sentence.endswith(".")
        assert "\n" not in sentence
        return sentence

    return check


@pytest.fixture(scope="session")
def build() -> SimpleNamespace:
    """What the tests build graphs with."""
    return SimpleNamespace(Graph=Graph, reference=reference, golden=golden, signs=signs, ternary=ternary)


def signs(rng, *shape: int) -> np.ndarray:
    return rng.choice(np.array([-1, 1], np.float32), shape)


def ternary(rng, *shape: int) -> np.ndarray:
    return rng.choice(np.array([-1, 0, 1], np.float32), shape)
