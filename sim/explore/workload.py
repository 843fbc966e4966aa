"""What candidates are measured with: one model, or layers one after the other."""

import hashlib
import io
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np

from celosia.host.errors import CelosiaError
from celosia.host.models.float_ir import FloatNetwork
from celosia.host.models.integers import container
from celosia.host.models.ir import Network
from celosia.host.prepare import prepare
from celosia.hw.config import AcceleratorConfig

_WIDTHS: Final = ("weight_width", "activation_width", "activation_signed", "accumulator_width", "codebook_width")
"""Parameters of engines that decide which integers a float model becomes."""


class _Pickler(pickle.Pickler):
    """Leaves out what dataclasses remember of themselves (`cached_property`): the same model is the same bytes."""

    def reducer_override(self, value: Any) -> Any:
        if not is_dataclass(value) or isinstance(value, type):
            return NotImplemented
        return _restored, (type(value), {field.name: getattr(value, field.name) for field in fields(value)})


def _restored(kind: type, values: Mapping[str, Any]) -> Any:
    made: Any = object.__new__(kind)
    made.__dict__.update(values)
    return made


Piece = tuple[Network, np.ndarray]
"""A network, and inputs of it in its integers."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Workload:
    """Models that run one after the other; their cycles add up.

    Parameters
    ----------
    name : str
        What it is called in reports.
    models : sequence of Network or FloatNetwork
    inputs : ndarray (n, …) or None
        Inputs of the only model, where cycles depend on them, a float model is quantized by them, or for the accuracy.
    labels : ndarray (n,) or None
        Their right classes.
    calibration : ndarray (n, …) or None
        Typical inputs that a float model's ranges are taken from, instead of `inputs`.
    batch : int
        Inputs that are run at a time.

    Raises
    ------
    CelosiaError
        A float model comes without inputs to quantize it by, labels without as many inputs, or inputs with several
        models.
    """

    name: str
    models: Sequence[Network | FloatNetwork]
    inputs: np.ndarray | None = None
    labels: np.ndarray | None = None
    calibration: np.ndarray | None = None
    batch: int = 1

    def __post_init__(self) -> None:
        typical = self.inputs if self.calibration is None else self.calibration
        if typical is None and any(isinstance(model, FloatNetwork) for model in self.models):
            raise CelosiaError(f"{self.name}: a float model needs typical inputs to be quantized; give --input X.npy.")
        if self.inputs is not None and len(self.models) > 1:
            raise CelosiaError(f"{self.name} has layers that do not follow each other; leave --input out.")
        if self.labels is not None and (self.inputs is None or self.labels.shape != (len(self.inputs),)):
            raise CelosiaError(f"{self.name}: labels of shape {self.labels.shape} need as many --input entries.")
        if self.batch < 1:
            raise CelosiaError(f"--batch {self.batch} must be at least 1.")

    @cached_property
    def digest(self) -> str:
        """Hexadecimal digits that name everything in it."""
        return hashlib.sha256(self.pickled).hexdigest()[:32]

    @cached_property
    def pickled(self) -> bytes:
        """Bytes that a worker makes it from again."""
        written = io.BytesIO()
        pickler = _Pickler(written)
        pickler.fast = True  # bytes do not depend on which of equal objects are one
        pickler.dump(self)
        return written.getvalue()

    @cached_property
    def _prepared(self) -> dict[tuple[Any, ...], list[Piece]]:
        return {}

    @cached_property
    def accuracies(self) -> dict[int, float]:
        """Identity of a network in `pieces` → the accuracy that was found for it."""
        return {}

    def pieces(self, config: AcceleratorConfig) -> list[Piece]:
        """Return the models in the integers of a config, each with the batch that cycles are counted for.

        Raises
        ------
        CelosiaError
            A float model cannot be turned into such integers, or the inputs do not fit the model.
        """
        engine = config.engine
        key = (config.engine_name, *(getattr(engine, name, None) for name in _WIDTHS))
        if key not in self._prepared:
            self._prepared[key] = [self._piece(model, config) for model in self.models]
        return self._prepared[key]

    def _piece(self, model: Network | FloatNetwork, config: AcceleratorConfig) -> Piece:
        if self.inputs is not None:
            return prepare(model, self.inputs, config, calibration=self.calibration)
        if isinstance(model, FloatNetwork):
            assert self.calibration is not None
            return prepare(model, self.calibration[: self.batch], config, calibration=self.calibration)
        # Never 0 where that is no value of the type: bipolar inputs.
        shape = (self.batch, *model.layers[0].input_shape)
        return model, np.full(shape, model.input_step - 1, dtype=container(model.input_dtype))
