from pathlib import Path
from types import SimpleNamespace
from typing import Any

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from celosia.host.models.litert import LiteRT
from celosia.host.models.tflite import read_tflite_tensors
from celosia.sim.golden.network import tensors

NETWORKS = ("resnet8", "kws", "ad")
_TYPES = {"int8": "INT8", "uint8": "UINT8", "int16": "INT16", "int32": "INT32", "int64": "INT64", "float32": "FLOAT32"}


class Graph:
    """A .tflite file that is written one operator at a time; tensors are known by their numbers."""

    def __init__(self, description: str = "a test") -> None:
        self.model = schema.ModelT(version=3, description=description, operatorCodes=[], buffers=[schema.BufferT()])
        self.graph = schema.SubGraphT(tensors=[], inputs=[], outputs=[], operators=[])
        self.model.subgraphs = [self.graph]
        self.kinds: dict[str, int] = {}

    def tensor(self, shape, scale=0.5, zero_point=0, kind="int8", *, name=None, data=None, axis=0) -> int:
        """Activations, or a constant if there is `data`."""
        scales = np.atleast_1d(np.asarray([] if scale is None else scale, np.float32))
        zeros = np.broadcast_to(np.asarray(zero_point, np.int64), scales.shape)
        quantization = schema.QuantizationParametersT(scale=scales, zeroPoint=zeros, quantizedDimension=axis)
        self.model.buffers.append(schema.BufferT(data=data))
        number = len(self.graph.tensors)
        self.graph.tensors.append(
            schema.TensorT(
                shape=list(shape),
                type=getattr(schema.TensorType, _TYPES.get(kind, kind)),
                buffer=len(self.model.buffers) - 1,
                name=name or f"t{number}",
                quantization=quantization,
            )
        )
        return number

    def constant(self, array, scale=None, zero_point=0, axis=0) -> int:
        array = np.ascontiguousarray(array)
        data = array.reshape(-1).view(np.uint8)
        return self.tensor(array.shape, scale, zero_point, array.dtype.name, data=data, axis=axis)

    def input(self, shape, scale=0.5, zero_point=0, kind="int8") -> int:
        number = self.tensor(shape, scale, zero_point, kind, name="x")
        self.graph.inputs.append(number)
        return number

    def add(self, kind: str, inputs, output: int, options: str = "", **fields: Any) -> int:
        """An operator of one output; `options` names the table that the fields are of."""
        if kind not in self.kinds:
            self.kinds[kind] = len(self.kinds)
            code = getattr(schema.BuiltinOperator, kind)
            self.model.operatorCodes.append(
                schema.OperatorCodeT(deprecatedBuiltinCode=min(code, 127), builtinCode=code, version=1)
            )
        operator = schema.OperatorT(opcodeIndex=self.kinds[kind], inputs=list(inputs), outputs=[output])
        if options:
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, options)
            operator.builtinOptions = getattr(schema, f"{options}T")(**fields)
        self.graph.operators.append(operator)
        self.graph.outputs = [output]
        return output

    def content(self) -> bytes:
        builder = flatbuffers.Builder(1024)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    def save(self, path: Path) -> Path:
        path.write_bytes(self.content())
        return path

    # shorthands for what most tests need

    def conv(self, x, weights, output, scale=0.01, bias=None, *, depthwise=False, **fields) -> int:
        """CONV_2D of weights (N, rows, columns, C), or DEPTHWISE_CONV_2D of (1, rows, columns, N)."""
        axis = 3 if depthwise else 0
        operands = [x, self.constant(np.asarray(weights, np.int8), scale, axis=axis)]
        if bias is not None:
            operands.append(self.constant(np.asarray(bias, np.int32), 1.0))
        fields = {"strideH": 1, "strideW": 1, "padding": schema.Padding.VALID} | fields
        kind = "DepthwiseConv2DOptions" if depthwise else "Conv2DOptions"
        if depthwise:
            channels = self.graph.tensors[x].shape[3]
            fields.setdefault("depthMultiplier", np.shape(weights)[3] // channels)
        return self.add("DEPTHWISE_CONV_2D" if depthwise else "CONV_2D", operands, output, kind, **fields)

    def dense(self, x, weights, output, scale=0.01, bias=None, **fields) -> int:
        operands = [x, self.constant(np.asarray(weights, np.int8), scale)]
        if bias is not None:
            # LiteRT wants a bias in units of the accumulator, or nearly
            unit = float(np.atleast_1d(scale)[0]) * float(self.graph.tensors[x].quantization.scale[0])
            operands.append(self.constant(np.asarray(bias, np.int32), unit))
        return self.add("FULLY_CONNECTED", operands, output, "FullyConnectedOptions", **fields)


def compare(path: Path, inputs: np.ndarray) -> int:
    """Hold every tensor of a file, on all inputs, against LiteRT; return how many elements were compared."""
    network, places = read_tflite_tensors(path)
    reference, made = LiteRT(path), tensors(network, inputs)
    assert max(places.values()) == len(network.layers), "the output is not compared"
    count = 0
    for index in range(len(inputs)):
        reference.run(inputs[index])
        for number, place in places.items():
            expected, got = reference.tensor(number).reshape(-1), made[place][index].reshape(-1)
            wrong = np.flatnonzero(expected != got)
            where = f"{path.name}, input {index}, tensor {number}"
            assert not wrong.size, (
                f"{where}: {wrong.size} differ, first {wrong[0]}: {expected[wrong[0]]}, {got[wrong[0]]}"
            )
            count += got.size
    return count


@pytest.fixture(scope="session")
def tflite() -> SimpleNamespace:
    """What builds, runs and compares .tflite files."""
    return SimpleNamespace(Graph=Graph, Reference=LiteRT, compare=compare, schema=schema)
