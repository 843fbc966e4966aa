"""LiteRT's reference kernels: what TensorFlow Lite itself makes of a file, to compare with."""

import importlib.metadata
import importlib.util
import os

import numpy as np


def litert_version() -> str | None:
    """Return the version of LiteRT that is installed, if it is."""
    if importlib.util.find_spec("ai_edge_litert") is None:
        return None
    return importlib.metadata.version("ai-edge-litert")


class LiteRT:
    """A .tflite file in LiteRT's interpreter, with its reference kernels; all tensors of a run can be looked at.

    Raises
    ------
    ImportError
        If the package ai-edge-litert is missing.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        self._interpreter = Interpreter(
            model_path=os.fspath(path),
            experimental_op_resolver_type=OpResolverType.BUILTIN_REF,
            experimental_preserve_all_tensors=True,
            num_threads=1,
        )
        self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[0]
        self._output = self._interpreter.get_output_details()[0]["index"]

    def run(self, x: np.ndarray) -> np.ndarray:
        """Run one input, in the shape of the file's or any other of as many elements, and return the output."""
        self._interpreter.set_tensor(self._input["index"], x.reshape(self._input["shape"]))
        self._interpreter.invoke()
        return self.tensor(self._output)

    def tensor(self, number: int) -> np.ndarray:
        """Return a tensor of the last run, by its number in the file."""
        values: np.ndarray = self._interpreter.get_tensor(number)
        return values
