"""Checks that the layers and networks share: each returns the value in its stored form or raises one sentence."""

import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from celosia.host.models.errors import ModelError


class ChainLink(Protocol):
    """What :func:`check_chain` looks at in a layer."""

    @property
    def name(self) -> str:
        """Name of the layer."""
        ...

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input."""
        ...

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of one output."""
        ...


def layer_label(name: object) -> str:
    """Return the words that name a layer in an error; its name must be a string that is not empty."""
    if not isinstance(name, str) or not name:
        raise ModelError(f"a layer is named {name!r}, but a name must be a string that is not empty.")
    return f'layer "{name}"'


def frozen(array: np.ndarray, dtype: npt.DTypeLike) -> np.ndarray:
    """Return a read-only copy in C order."""
    copy = np.array(array, dtype=dtype, order="C", copy=True)
    copy.setflags(write=False)
    return copy


def check_matrix(where: str, weights: np.ndarray) -> None:
    """Refuse anything but a (K, N) matrix with at least one element."""
    if weights.ndim != 2 or 0 in weights.shape:
        raise ModelError(
            f"{where}: the weights have shape {weights.shape}, but a dense layer needs (K, N), both at least 1."
        )


def check_range(where: str, field: str, values: np.ndarray, smallest: int, largest: int) -> None:
    """Refuse a vector with a value outside of smallest..largest, naming the first one."""
    outside = np.flatnonzero((values < smallest) | (values > largest))
    if outside.size:
        raise ModelError(
            f"{where}: {field}[{outside[0]}] is {values[outside[0]]}, but it must be from {smallest} to {largest}."
        )


def integer_vector(where: str, field: str, values: npt.ArrayLike, length: int) -> np.ndarray:
    """Return (length,) integers of any integer type as a read-only int64 vector."""
    vector = np.asarray(values)
    if vector.dtype.kind not in "iu":
        raise ModelError(f"{where}: {field} is {vector.dtype}, but it must be an array of integers.")
    if vector.shape != (length,):
        raise ModelError(f"{where}: {field} has shape {vector.shape}, but {length} outputs need ({length},).")
    if vector.dtype == np.uint64:  # the one integer type that int64 does not hold
        check_range(where, field, vector, 0, 2**63 - 1)
    return frozen(vector, np.int64)


def integer(where: str, field: str, value: object, smallest: int, largest: int) -> int:
    """Return an integer, Python's or numpy's, as an int from smallest to largest."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | np.integer):
        raise ModelError(f"{where}: {field} is {value!r}, but it must be an integer.")
    if not smallest <= value <= largest:
        raise ModelError(f"{where}: {field} is {value}, but it must be from {smallest} to {largest}.")
    return int(value)


def float_array(where: str, field: str, values: npt.ArrayLike) -> np.ndarray:
    """Return finite numbers as a read-only float32 array."""
    array = np.asarray(values)
    if array.dtype.kind not in "fiu":
        raise ModelError(f"{where}: {field} is {array.dtype}, but it must be an array of numbers.")
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite and is named below
        array = frozen(array, np.float32)
    if not np.isfinite(array).all():
        raise ModelError(f"{where}: {field} contains NaN or infinity; only finite float32 values can be used.")
    return array


def taken_shapes(layer: ChainLink) -> tuple[tuple[int, ...], ...]:
    """Return the shapes of the tensors that a layer takes: its `input_shapes`, or else its one `input_shape`."""
    return getattr(layer, "input_shapes", (layer.input_shape,))


def check_chain(
    name: object,
    layers: Sequence[ChainLink],
    input_shape: Sequence[int],
    labels: Sequence[str],
    sources: Sequence[tuple[int, ...]] | None = None,
) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Check that layers follow each other, and return the input shape and the labels as tuples.

    `sources` says which tensors each layer takes, as :func:`check_sources` returns them; None: that before it.
    """
    if not isinstance(name, str) or not name:
        raise ModelError(f"a network is named {name!r}, but a name must be a string that is not empty.")
    where = f'network "{name}"'
    if not layers:
        raise ModelError(f"{where}: it has no layers, but it needs at least one.")
    sizes = tuple(integer(where, "a dimension of input_shape", size, 1, 2**31 - 1) for size in input_shape)
    if not sizes:
        raise ModelError(f"{where}: input_shape is empty, but an input needs at least one dimension.")
    names = set[str]()
    givers, shapes = ["the input"], [sizes]
    for index, layer in enumerate(layers):
        if layer.name in names:
            raise ModelError(f'{where}: two layers are named "{layer.name}", but each needs a name of its own.')
        names.add(layer.name)
        for source, taken in zip(sources[index] if sources else (index,), taken_shapes(layer), strict=True):
            giver, shape = givers[source], shapes[source]
            if shape != taken and not (len(taken) == 1 and math.prod(shape) == taken[0]):
                raise ModelError(f"{layer_label(layer.name)}: it takes shape {taken}, but {giver} has shape {shape}.")
        givers.append(f'the output of layer "{layer.name}"')
        shapes.append(layer.output_shape)
    if not all(isinstance(label, str) for label in labels):
        raise ModelError(f"{where}: a label is not a string, but all must be.")
    outputs = math.prod(shapes[-1])
    if labels and len(labels) != outputs:
        raise ModelError(f"{where}: it has {len(labels)} labels for {outputs} outputs, but needs one each.")
    return sizes, tuple(labels)


def check_sources(
    name: object, layers: Sequence[ChainLink], sources: Sequence[Sequence[int]] | None
) -> tuple[tuple[int, ...], ...] | None:
    """Check which tensors each layer takes: 0 is the network's input, i + 1 the output of layer i.

    Returns
    -------
    tuple of tuple of int, or None if every layer takes the tensor before it alone

    Raises
    ------
    ModelError
        If a layer takes another number of tensors than it has inputs, or one that comes later, or if a tensor but the
        last is taken by no layer.
    """
    where = f'network "{name}"'
    given = [(index,) for index in range(len(layers))] if sources is None else list(sources)
    if len(given) != len(layers):
        raise ModelError(f"{where}: sources has {len(given)} entries for {len(layers)} layers, but needs one each.")
    checked = []
    for index, (layer, taken) in enumerate(zip(layers, given, strict=True)):
        label, needed = layer_label(layer.name), len(taken_shapes(layer))
        if not isinstance(taken, Sequence) or len(taken) != needed:
            raise ModelError(f"{label}: it takes {needed} tensors, but its sources are {taken!r}.")
        checked.append(tuple(integer(label, "one of its sources", source, 0, index) for source in taken))
    used = {source for taken in checked for source in taken}
    for index in range(len(layers)):
        if index not in used:
            tensor = f'the output of layer "{layers[index - 1].name}"' if index else "the input"
            raise ModelError(f"{where}: no layer takes {tensor}, but every tensor except the last must be taken.")
    return None if checked == [(index,) for index in range(len(layers))] else tuple(checked)
