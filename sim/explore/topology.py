"""Topologies of SCALE-Sim: convolutions, or matrix products, one in a line of a CSV file.

Sizes are SCALE-Sim 3.0.0's own (`scalesim/topology_utils.py`). Images are taken as they are, without padding, but a
window that reaches out of an image counts: ``out = ceil((in − filter + stride) / stride)``. M, K and N are those of the
matrix product that a layer is: M windows or rows, K inputs of a result, N filters or columns.
"""

import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from celosia.host.errors import CelosiaError
from celosia.host.models.convolution import Conv2d
from celosia.host.models.ir import Network
from celosia.host.models.window import MAX_SIDE, Pair

CONVOLUTION = ("Layer name", "IFMAP Height", "IFMAP Width", "Filter Height", "Filter Width", "Channels", "Num Filter")
"""First columns of a file of convolutions; strides, and sparsity if any, follow. SCALE-Sim takes them by place."""

GEMM = ("Layer", "M", "N", "K")
"""First columns of a file of matrix products; sparsity may follow."""

_SPARSITY = re.compile(r"(\d+)\s*:\s*(\d+)")
_DEPTHWISE = "DP"  # in a layer's name


@dataclass(frozen=True, kw_only=True)
class ConvLayer:
    """A convolution.

    Parameters
    ----------
    name : str
    image, kernel, strides : tuple of int
        (rows, columns) of the input, which includes its padding; of the filters; and from window to window.
    channels, filters : int
        Of the input; of the output.
    sparsity : tuple of int
        At most so many of so many weights are not 0. SCALE-Sim looks at it if told to; the systolic engine does not.
    """

    name: str
    image: Pair
    kernel: Pair
    channels: int
    filters: int
    strides: Pair = (1, 1)
    sparsity: Pair = (1, 1)

    @property
    def output(self) -> Pair:
        """(rows, columns) of the output, windows that reach out of the image included."""
        down, across = (
            math.ceil((size - span + stride) / stride)
            for size, span, stride in zip(self.image, self.kernel, self.strides, strict=True)
        )
        return down, across

    @property
    def gemm(self) -> tuple[int, int, int]:
        """(M, K, N) of the matrix product."""
        return math.prod(self.output), math.prod(self.kernel) * self.channels, self.filters

    @property
    def macs(self) -> int:
        """Multiply-accumulates."""
        return math.prod(self.gemm)

    def network(self) -> Network:
        """Return a network of this layer alone, int8, its weights zeros; padding only where windows reach out.

        Raises
        ------
        ModelError
            A side is larger than `celosia.host.models.window.MAX_SIDE`.
        """
        below, right = (
            max((places - 1) * stride + span - size, 0)
            for places, stride, span, size in zip(self.output, self.strides, self.kernel, self.image, strict=True)
        )
        return _convolution(
            self.name, self.image, (*self.kernel, self.channels, self.filters), self.strides, (0, 0, below, right)
        )


@dataclass(frozen=True, kw_only=True)
class GemmLayer:
    """A matrix product, (M, K) times (K, N); `sparsity` as of `ConvLayer`."""

    name: str
    M: int
    K: int
    N: int
    sparsity: Pair = (1, 1)

    @property
    def gemm(self) -> tuple[int, int, int]:
        """(M, K, N)."""
        return self.M, self.K, self.N

    @property
    def macs(self) -> int:
        """Multiply-accumulates."""
        return math.prod(self.gemm)

    def network(self) -> Network:
        """Return a network of this layer alone, int8, its weights zeros.

        The M rows are pixels of one image, which a filter of 1 × 1 is moved over: memories that fit one input of the
        network fit all of them, and cycles are those of a dense layer and M inputs.

        Raises
        ------
        CelosiaError
            The rows are no image whose sides are at most `celosia.host.models.window.MAX_SIDE`.
        """
        lines = next((lines for lines in range(-(-self.M // MAX_SIDE), MAX_SIDE + 1) if self.M % lines == 0), 0)
        if not lines:
            raise CelosiaError(
                f'layer "{self.name}": M={self.M} must be at most {MAX_SIDE}, or a product of two such numbers.'
            )
        return _convolution(self.name, (lines, self.M // lines), (1, 1, self.K, self.N))


Layer = ConvLayer | GemmLayer


@dataclass(frozen=True, kw_only=True)
class Topology:
    """Layers, each for itself, and the name of the file that they are from."""

    name: str
    layers: tuple[Layer, ...]


def _convolution(
    name: str,
    image: Pair,
    weights: tuple[int, int, int, int],
    strides: Pair = (1, 1),
    padding: tuple[int, int, int, int] = (0, 0, 0, 0),
) -> Network:
    zeros = np.zeros(weights[3], dtype=np.int64)
    layer = Conv2d(
        name=name,
        weights=np.zeros(weights, dtype=np.int8),
        input_size=image,
        strides=strides,
        padding=padding,
        bias=zeros,
        multiplier=np.full(weights[3], 1 << 30),
        shift=zeros,
        rounding="double",
        input_zero_point=0,
        output_zero_point=0,
        minimum=-128,
        maximum=127,
    )
    return Network(name=name, layers=[layer], input_shape=layer.input_shape)


def read_topology(path: str | os.PathLike[str]) -> Topology:
    """Read a topology: convolutions or matrix products, as its header says.

    A convolution with "DP" in its name is, as in SCALE-Sim, as many layers of one channel as it has channels. Commas
    at the ends of lines, which SCALE-Sim needs, may be missing. Two strides, rows before columns, may be given, which
    SCALE-Sim 3.0.0 writes but does not read.

    Parameters
    ----------
    path : path
        A CSV file in UTF-8; the first line that is not blank is the header.

    Raises
    ------
    CelosiaError
        The file cannot be read, or a line is wrong: one sentence with line and column, both counted from 1.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text in UTF-8"
        raise CelosiaError(f"{path} cannot be read: {why}; it must be a topology of SCALE-Sim, a CSV file.") from None
    lines = [(number, _cells(line)) for number, line in enumerate(text.splitlines(), 1)]
    lines = [(number, cells) for number, cells in lines if cells]
    if not lines:
        raise CelosiaError(f"{path} is empty; its first line must be a header, {_head(CONVOLUTION)} or {_head(GEMM)}.")
    (number, header), *rows = lines
    is_gemm = _is_gemm(f"{path}, line {number}", header)
    layers: list[Layer] = []
    for number, cells in rows:
        line = _Line(f"{path}, line {number}", cells, GEMM if is_gemm else CONVOLUTION)
        layers += [line.gemm()] if is_gemm else line.convolutions()
    if not layers:
        raise CelosiaError(f"{path} has a header, but no layer; each of the lines that follow must be one.")
    return Topology(name=Path(path).stem, layers=tuple(layers))


def _cells(line: str) -> list[str]:
    """Return the cells of a line, without blanks around them and empty ones at the end."""
    cells = [cell.strip() for cell in line.split(",")]
    while cells and not cells[-1]:
        cells.pop()
    return cells


def _head(columns: Sequence[str]) -> str:
    return f'"{", ".join(columns)}, …"'


def _is_gemm(where: str, header: Sequence[str]) -> bool:
    names = [re.sub("[^a-z]", "", name.lower()) for name in header]
    if {"m", "n", "k"} <= set(names):
        if names[1:4] != ["m", "n", "k"]:
            raise CelosiaError(
                f"{where}: the columns {', '.join(header)} are in an order that SCALE-Sim does not take; "
                f"they must be {_head(GEMM)}."
            )
        return True
    if any("ifm" in name for name in names) and any("filt" in name for name in names):
        return False
    raise CelosiaError(
        f"{where}: {', '.join(header)!r} is the header neither of convolutions nor of matrix products; it must be "
        f"{_head(CONVOLUTION)} or {_head(GEMM)}."
    )


class _Line:
    """The cells of a line, and what its columns are called."""

    def __init__(self, where: str, cells: list[str], columns: Sequence[str]) -> None:
        self.where, self.columns = where, columns
        self.sparsity = (1, 1)
        found = _SPARSITY.fullmatch(cells[-1])
        if found and len(cells) > len(columns):
            some, of = int(found[1]), int(found[2])
            if not 1 <= some <= of:
                raise self._wrong(len(cells) - 1, "Sparsity", cells[-1], "N:M with N from 1 to M, such as 2:4")
            self.sparsity, cells = (some, of), cells[:-1]
        self.cells = cells
        if not cells[0]:
            raise self._wrong(0, columns[0], "", "the name of the layer")

    def _wrong(self, index: int, column: str, cell: str, right: str) -> CelosiaError:
        return CelosiaError(f"{self.where}, column {index + 1} ({column}): {cell!r} must be {right}.")

    def number(self, index: int, column: str) -> int:
        """Return the whole number of a column."""
        cell = self.cells[index] if index < len(self.cells) else ""
        if not (cell.isascii() and cell.isdigit() and len(cell) <= 9 and int(cell)):
            raise self._wrong(index, column, cell, "a whole number from 1 to 999999999")
        return int(cell)

    def _no_more_than(self, columns: int) -> None:
        if len(self.cells) > columns:
            right = "the last cell or a sparsity N:M, such as 2:4"
            raise self._wrong(columns, "after the last", self.cells[columns], right)

    def gemm(self) -> GemmLayer:
        """Return the line as a matrix product."""
        self._no_more_than(4)
        M, N, K = (self.number(index, GEMM[index]) for index in (1, 2, 3))
        return GemmLayer(name=self.cells[0], M=M, K=K, N=N, sparsity=self.sparsity)

    def convolutions(self) -> list[Layer]:
        """Return the line as one convolution, or as one for each channel."""
        self._no_more_than(9)
        numbers = [self.number(index, CONVOLUTION[index]) for index in range(1, 7)]
        stride = self.number(7, "Strides")
        strides = stride, self.number(8, "Stride width") if len(self.cells) > 8 else stride
        image, kernel = (numbers[0], numbers[1]), (numbers[2], numbers[3])
        for index, (size, span) in enumerate(zip(image, kernel, strict=True)):
            if span > size:
                right = f"at most the {size} of the IFMAP"
                raise self._wrong(3 + index, CONVOLUTION[3 + index], self.cells[3 + index], right)
        fields: dict[str, Any] = {"image": image, "kernel": kernel, "strides": strides, "filters": numbers[5]}
        fields["sparsity"] = self.sparsity
        name, channels = self.cells[0], numbers[4]
        if _DEPTHWISE not in name:
            return [ConvLayer(name=name, channels=channels, **fields)]
        return [ConvLayer(name=f"{name}Channel_{index}", channels=1, **fields) for index in range(channels)]
