"""Networks in numpy's .npz container: Celosia's own format, also easy to write by hand.

Every entry is one array; texts are 0-d string arrays, numbers 0-d arrays. Nothing is pickled.

================== ============================================================================
entry              content
================== ============================================================================
``format``         ``celosia-float`` or ``celosia-quantized``
``version``        1
``name``           text
``input_shape``    integers (D,): shape of one input without the batch axis
``layers``         texts (L,): the layers' names, in order
``labels``         texts (N,): one per output; optional
``input_scale``    number; quantized networks only
``output_scale``   number, or numbers (N,), one for each output; quantized networks only
================== ============================================================================

A quantized network may also have the other fields of :class:`celosia.host.models.ir.Network`, which are left out where
they are 0 or nothing:

==================== ==========================================================================
entry                content
==================== ==========================================================================
``output_bias``      number, or numbers (N,)
``input_thresholds`` numbers (T,)
``channels_first``   integer: 0 or 1
==================== ==========================================================================

Layer i (from 0) of a float network has ``i.weights`` float (K, N), ``i.bias`` float (N,) and, if there is one,
``i.activation``: ``none``, ``relu``, ``relu6`` or two numbers (lowest, highest). ``i.kind`` is ``dense``, and may be
left out.

Layer i of a quantized network has the fields of its class under the same names. ``i.kind`` says which class:

``dense``, or left out: :class:`celosia.host.models.ir.Dense`
    ``i.weights``, ``i.bias``, ``i.multiplier``, ``i.shift``, ``i.rounding``, ``i.input_zero_point``,
    ``i.output_zero_point``, ``i.minimum``, ``i.maximum``, ``i.input_dtype``, ``i.output_dtype``
``conv``: :class:`celosia.host.models.convolution.Conv2d`
    ``i.weights`` int8 (kernel rows, kernel columns, C / groups, N), ``i.input_size`` integers (2,), ``i.strides`` (2,),
    ``i.padding`` (4,), ``i.dilations`` (2,), ``i.groups``, and the others of ``dense``
``max-pool``, ``average-pool``: :class:`celosia.host.models.pooling.MaxPool2d`, ``AveragePool2d``
    ``i.input_shape`` integers (3,), ``i.kernel`` (2,), ``i.strides`` (2,), ``i.padding`` (4,), ``i.zero_point``,
    ``i.minimum``, ``i.maximum``, ``i.dtype``
``add``: :class:`celosia.host.models.elementwise.Add`
    ``i.shape`` integers (D,), ``i.left_shift``, ``i.multipliers`` (2,), ``i.shifts`` (2,), ``i.output_multiplier``,
    ``i.output_shift``, ``i.input_zero_points`` (2,), and from ``i.rounding`` on those of ``dense``, without
    ``i.input_zero_point``
``rescale``: :class:`celosia.host.models.elementwise.Rescale`
    ``i.shape`` integers (D,), ``i.multiplier`` and ``i.shift``, each one integer, and from ``i.rounding`` on those of
    ``dense``
``concat``: :class:`celosia.host.models.arrangement.Concat`
    ``i.input_shapes`` integers (S, D), ``i.zero_point``, ``i.dtype``
``reshape``: :class:`celosia.host.models.arrangement.Reshape`
    ``i.input_shape`` integers (D,), ``i.output_shape`` (E,), ``i.zero_point``, ``i.dtype``
``softmax``: :class:`celosia.host.models.softmax.Softmax`
    ``i.shape`` integers (D,), ``i.multiplier``, ``i.shift``, ``i.input_zero_point``
``compressed``: :class:`celosia.host.models.compressed.CompressedDense`
    ``i.codes`` uint8 (K, N), ``i.codebook`` integers (C,), ``i.bias``, ``i.shift``, ``i.minimum``, ``i.maximum``,
    ``i.input_dtype``, ``i.output_dtype``; without ``i.codebook``, ``i.codes`` are the weights, int8 or int16
``binary-dense``: :class:`celosia.host.models.binary.BinaryDense`
    ``i.weights`` integers (K, N), ``i.input_dtype``, ``i.output_dtype``; optional: ``i.thresholds`` integers (N, T),
    ``i.output_minimum``
``binary-conv``: :class:`celosia.host.models.binary.BinaryConv`
    ``i.weights`` integers (kernel rows, kernel columns, C, N), ``i.input_size`` integers (2,), ``i.strides`` (2,),
    ``i.padding`` (4,), ``i.pad_value``, ``i.pool`` (2,), ``i.pool_strides`` (2,), and those of ``binary-dense``

A layer of any kind takes what the layer before it gives, the first one the network's input. One that takes something
else, or several tensors, also has ``i.sources``, integers (S,): 0 is the network's input, j + 1 the output of layer j.
A layer takes at most 1024 tensors.

Texts of more than 2^16 characters, vectors of more than 2^20 names or labels, and shapes of more than 64 axes are not
read.

A float network by hand::

    np.savez("mlp.npz", **{"format": "celosia-float", "version": 1, "name": "mlp", "input_shape": [64],
                           "layers": ["hidden", "classes"],
                           "0.weights": w0, "0.bias": b0, "0.activation": "relu", "1.weights": w1, "1.bias": b1})
"""

import os
from collections.abc import Callable, Sequence
from typing import Final, TypedDict, cast

import numpy as np

from celosia.host.files import replacing, write_arrays
from celosia.host.models.errors import ModelError
from celosia.host.models.float_ir import FloatDense, FloatNetwork
from celosia.host.models.ir import Layer, Network
from celosia.host.models.npz_entries import MAX_DIMENSIONS, Entries, read_arrays
from celosia.host.models.npz_layers import FLOAT_LAYERS, QUANTIZED_LAYERS, layer_entries, read_layers, read_sources

VERSION: Final = 1


def read_npz(path: str | os.PathLike[str]) -> Network | FloatNetwork:
    """Read a network that :func:`write_npz` or a user wrote.

    Parameters
    ----------
    path : path
        The .npz file.

    Returns
    -------
    Network or FloatNetwork

    Raises
    ------
    ModelError
        If the file cannot be read, is damaged or larger than 1 GiB, or does not hold a network of format version 1.
    """
    try:
        entries = Entries(read_arrays(path))
        form = entries.text("format", "celosia-float or celosia-quantized")
        if form not in _READERS:
            raise ModelError(f'format is "{form}", but only celosia-float and celosia-quantized are known.')
        version = entries.integer("version")
        if version != VERSION:
            raise ModelError(f"the format's version is {version}, but this program reads version {VERSION}.")
        network = _READERS[form](entries)
        entries.refuse_others()
    except ModelError as error:
        raise ModelError(f"{os.fspath(path)}: {' '.join(str(error).split())}") from None
    return network


def write_npz(path: str | os.PathLike[str], network: Network | FloatNetwork) -> None:
    """Write a network; equal networks give equal bytes, and a failure leaves no half file.

    Parameters
    ----------
    path : path
        The .npz file, replaced if it exists.
    network : Network or FloatNetwork
        Every layer must be of one of the kinds above.

    Raises
    ------
    ModelError
        If a layer is of a kind that the format does not know or takes more than 1024 tensors, or the file cannot be
        written.
    """
    entries: dict[str, object] = {
        "format": "celosia-quantized" if isinstance(network, Network) else "celosia-float",
        "version": VERSION,
        "name": network.name,
        "input_shape": network.input_shape,
        "layers": [layer.name for layer in network.layers],
    }
    if network.labels:
        entries["labels"] = list(network.labels)
    if isinstance(network, Network):
        entries |= _scales(network)
    layers: Sequence[Layer | FloatDense] = network.layers
    chain = tuple((index,) for index in range(len(layers)))
    all_sources = network.all_sources if isinstance(network, Network) else chain
    try:
        for index, (layer, taken) in enumerate(zip(layers, all_sources, strict=True)):
            entries |= layer_entries(index, layer, taken)
    except ModelError as error:
        raise ModelError(f"{os.fspath(path)}: {error}") from None
    arrays = {key: np.asarray(value) for key, value in entries.items() if value is not None}
    try:
        with replacing(path) as file:
            write_arrays(file, arrays)
    except OSError as error:
        raise ModelError(f"{os.fspath(path)}: it cannot be written ({error.strerror}).") from None


def _scales(network: Network) -> dict[str, object]:
    """What a quantized network has beside a float one; None for what its file needs no entry for."""
    bias = network.output_bias
    return {
        "input_scale": network.input_scale,
        "output_scale": network.output_scale,
        "output_bias": None if isinstance(bias, float) and not bias else bias,
        "input_thresholds": network.input_thresholds,
        "channels_first": 1 if network.channels_first else None,
    }


class _Common(TypedDict):
    name: str
    input_shape: tuple[int, ...]
    labels: list[str]


def _read_names(entries: Entries) -> tuple[list[str], _Common]:
    names = cast(list[str], entries.vector("layers", "U", "a vector of layer names"))
    shape = cast(list[int], entries.vector("input_shape", "iu", "a vector of integers", MAX_DIMENSIONS))
    labels = cast(list[str], entries.vector("labels", "U", "a vector of texts")) if "labels" in entries else []
    return names, _Common(name=entries.text("name"), input_shape=tuple(shape), labels=labels)


def _read_float(entries: Entries) -> FloatNetwork:
    names, common = _read_names(entries)
    return FloatNetwork(layers=read_layers(entries, names, FLOAT_LAYERS), **common)


def _read_quantized(entries: Entries) -> Network:
    names, common = _read_names(entries)
    return Network(
        layers=read_layers(entries, names, QUANTIZED_LAYERS),
        input_scale=entries.number("input_scale"),
        output_scale=entries.numbers("output_scale"),
        output_bias=entries.numbers("output_bias") if "output_bias" in entries else 0.0,
        input_thresholds=np.asarray(entries.numbers("input_thresholds")) if "input_thresholds" in entries else None,
        channels_first="channels_first" in entries and entries.truth("channels_first"),
        sources=cast(list[tuple[int, ...]], read_sources(entries, len(names))),
        **common,
    )


_READERS: Final[dict[str, Callable[[Entries], Network | FloatNetwork]]] = {
    "celosia-float": _read_float,
    "celosia-quantized": _read_quantized,
}
