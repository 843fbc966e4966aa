"""Finds out where the tensors of a network lie, and what the systolic engine does to make them.

A tensor that is concatenated is written into the result from the start; one that is looked at in another shape stays
where it is. Where that cannot be, a copy is made.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from celosia.host.errors import CompileError
from celosia.host.models.arrangement import Concat, Reshape
from celosia.host.models.checks import taken_shapes
from celosia.host.models.elementwise import Add
from celosia.host.models.ir import Network
from celosia.host.pack.step import Operation
from celosia.host.pack.systolic_layout import Layout, ViewError, in_order, plain, stacked, viewed
from celosia.host.pack.systolic_lowering import product_of
from celosia.host.pack.systolic_product import Product, copy_of, offsets_of
from celosia.host.pack.systolic_tiles import Tiling, tile
from celosia.host.pack.systolic_variants import Variant, engine_layers, input_layout, variants
from celosia.hw.systolic.config import SystolicConfig
from celosia.hw.systolic.layer import Mode

INPUT = 0
"""Buffer of the network's inputs."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Stored:
    """Where a tensor is: its buffer, the words before its first pixel there, and how it lies."""

    buffer: int
    offset: int
    layout: Layout

    def seen_as(self, shape: tuple[int, ...], *, exchanged: bool) -> "Stored":
        """Return the same in another shape, see :func:`celosia.host.pack.systolic_layout.viewed`."""
        layout = viewed(self.layout, shape, exchanged=exchanged)
        return self if layout is self.layout else Stored(buffer=self.buffer, offset=self.offset, layout=layout)


@dataclass(frozen=True, kw_only=True, eq=False)
class Work:
    """An operation, what it reads and writes, and how: a product and its tiling, or an addition."""

    operation: Operation
    sources: tuple[Stored, ...]
    destination: Stored
    product: Product | None = None
    tiling: Tiling | None = None
    addition: Add | None = None

    @property
    def cycles(self) -> int:
        """Cycles of the feeder, about."""
        if self.tiling is not None:
            return self.tiling.cycles
        grid, words = self.sources[0].layout.grid, self.sources[0].layout.words
        return 2 * words * grid[0] * grid[1]


class Graph:
    """A network laid out in one way.

    Parameters
    ----------
    engine : SystolicConfig
    network : Network
    variant : Variant

    Attributes
    ----------
    works : list of Work
        What the engine does, in order.
    buffers : list of int
        Words of each buffer, for one input of the network.
    stored : list of Stored
        The network's tensors up to the engine's result.
    after : list of int
        The work after which each of them is there, −1 for the input.
    reasons : dict
        By layer without work: why it has none.

    Raises
    ------
    CompileError
        A layer is of an unsupported kind, its integers do not fit the engine's widths, or a tensor cannot lie as it is
        needed.
    """

    def __init__(self, engine: SystolicConfig, network: Network, variant: Variant) -> None:
        self.engine, self.network, self.variant = engine, network, variant
        self.count = engine_layers(network)
        self.works: list[Work] = []
        self.buffers: list[int] = []
        self.after = [-1]
        self.reasons: dict[int, str] = {}
        self._taken = [network.all_sources[index] for index in range(self.count)]
        self._homes: dict[int, tuple[int, int]] = {}  # tensor → concatenation that it is part of, words before it
        self._layouts: list[Layout] = []
        self._products: dict[tuple[Any, ...], Product | None] = {}
        self._stored: dict[int, Stored] = {}
        self._lay_out()
        self._store(0)
        for index in range(self.count):
            self._work(index)
        self._finish()
        self.stored = [self._stored[tensor] for tensor in range(self.count + 1)]

    @property
    def cycles(self) -> int:
        """Cycles of the feeder, about."""
        return sum(work.cycles for work in self.works)

    @property
    def output(self) -> int:
        """Buffer of the engine's results."""
        return self.stored[-1].buffer

    # How each tensor would lie if it had its words for itself.

    def _lay_out(self) -> None:
        self._layouts.append(input_layout(self.engine, self.network, self.variant))
        for index in range(self.count):
            layer = self.network.layers[index]
            if isinstance(layer, Reshape):  # whoever takes it looks at it in the shape that it needs
                self._layouts.append(self._layouts[self._taken[index][0]])
                continue
            sources = [
                self._seen(index, self._layouts[tensor], shape)
                for tensor, shape in zip(self._taken[index], taken_shapes(layer), strict=True)
            ]
            self._layouts.append(self._result_layout(index, layer, sources))

    def _result_layout(self, index: int, layer: Any, sources: Sequence[Layout]) -> Layout:
        shape, exchanged = layer.output_shape, self.variant.exchanged
        match layer:
            case Concat():
                return plain(shape, self._join(index, sources), exchanged=exchanged)
            case Add():
                return plain(shape, _common(sources, self.engine.rows), exchanged=exchanged)
        product = self._product(index, sources[0])
        if product is None:
            raise CompileError(
                f"layer {layer.name!r} is a {type(layer).__name__}; the systolic engine takes dense layers, "
                "convolutions, pooling, additions and rescaling in integers, concatenations and reshapes."
            )
        return plain(shape, self._result_lanes(product, sources[0]), exchanged=exchanged)

    def _product(self, index: int, source: Layout) -> Product | None:
        """Return what is computed for a layer, which does not depend on how far apart its input's pixels are."""
        key = index, source.grid, source.cell, source.exchanged, source.is_even
        if key not in self._products:
            self._products[key] = product_of(self.engine, self.network.layers[index], source)
        return self._products[key]

    def _result_lanes(self, product: Product, source: Layout) -> np.ndarray:
        keeps = product.channelwise and self.engine.resolved_taps
        return source.lanes if keeps else in_order(product.channels[1], self.engine.rows)

    def _join(self, index: int, sources: Sequence[Layout]) -> np.ndarray:
        """Decide which inputs of a concatenation are written into it, and return the lanes of its pixels."""
        first, parts = 0, []
        for tensor, layout in zip(self._taken[index], sources, strict=True):
            lanes = layout.lanes
            if self._may_live_elsewhere(tensor):
                self._homes[tensor] = index + 1, first
            elif not self.engine.resolved_taps:
                lanes = in_order(layout.shape[-1], self.engine.rows)
            parts.append(lanes)
            first += len(lanes)
        return stacked(parts)

    def _may_live_elsewhere(self, tensor: int) -> bool:
        layers = self.network.layers
        if tensor == 0 or tensor in self._homes or isinstance(layers[tensor - 1], Reshape):
            return False
        readers = [layers[index] for index in range(self.count) if tensor in self._taken[index]]
        return not any(isinstance(reader, Reshape) for reader in readers)

    def _seen(self, index: int, layout: Layout, shape: tuple[int, ...]) -> Layout:
        try:
            return viewed(layout, shape, exchanged=self.variant.exchanged)
        except ViewError:
            raise CompileError(
                f"layer {self.network.layers[index].name!r} takes a tensor of shape {layout.shape} as {shape}, whose "
                f"pixels would begin inside of memory words; only whole pixels can be put together, of a multiple of "
                f"{self.engine.rows} channels."
            ) from None

    # Where each tensor is, and what makes it.

    def _new(self, layout: Layout) -> Stored:
        self.buffers.append(layout.span)
        return Stored(buffer=len(self.buffers) - 1, offset=0, layout=layout)

    def _store(self, tensor: int) -> Stored:
        """Return where a tensor is, and decide it first if need be."""
        if tensor not in self._stored:
            layout = self._layouts[tensor]
            if tensor in self._homes:
                home, first = self._homes[tensor]
                whole = self._store(home)
                layout = layout.spread(whole.layout.pitches[1])
                stored = Stored(buffer=whole.buffer, offset=whole.offset + first, layout=layout)
            else:
                stored = self._new(layout)
            self._stored[tensor] = stored
        return self._stored[tensor]

    def _work(self, index: int) -> None:
        """Do what a layer takes."""
        layer, taken = self.network.layers[index], self._taken[index]
        if isinstance(layer, Reshape):
            self._stored[index + 1] = self._stored[taken[0]]
            self.after.append(self.after[taken[0]])
            self.reasons[index] = "nothing to do: its elements stay where they are"
            return
        sources = tuple(
            self._stored[tensor].seen_as(shape, exchanged=self.variant.exchanged)
            for tensor, shape in zip(taken, taken_shapes(layer), strict=True)
        )
        destination = self._store(index + 1)
        if isinstance(layer, Concat):
            self._concatenate(index, sources, destination)
            self.after.append(max([len(self.works) - 1] * self._copied(index), default=-1))
            self.after[-1] = max(self.after[-1], *(self.after[tensor] for tensor in taken))
            return
        if isinstance(layer, Add):
            self._add(index, layer, sources, destination)
        else:
            product = self._product(index, sources[0].layout)
            assert product is not None
            self._multiply(index, product, sources[0], destination)
        self.after.append(len(self.works) - 1)

    def _copied(self, index: int) -> bool:
        return bool(self.works) and self.works[-1].operation.layer == index

    def _concatenate(self, index: int, sources: Sequence[Stored], destination: Stored) -> None:
        first, seen = 0, set[int]()
        for tensor, source in zip(self._taken[index], sources, strict=True):
            lives_here = self._homes.get(tensor) == (index + 1, first) and tensor not in seen
            seen.add(tensor)
            lanes = source.layout.lanes
            if not lives_here:
                if not self.engine.resolved_taps:
                    lanes = in_order(source.layout.shape[-1], self.engine.rows)
                layout = plain(source.layout.shape, lanes, exchanged=self.variant.exchanged)
                part = Stored(
                    buffer=destination.buffer,
                    offset=destination.offset + first,
                    layout=layout.spread(destination.layout.pitches[1]),
                )
                self._copy(index, source, part, "an input is used elsewhere, too, or was not written for it alone")
            first += len(lanes)
        self.reasons[index] = "nothing to do: its inputs are written side by side"

    def _add(self, index: int, layer: Add, sources: Sequence[Stored], destination: Stored) -> None:
        if self.engine.cols < self.engine.rows:
            raise CompileError(
                f"layer {layer.name!r} adds two tensors, which takes a column for each of the {self.engine.rows} rows; "
                f"make cols as large as rows, instead of {self.engine.cols}."
            )
        first, second = sources
        if not _alike(first, second):
            lanes = _common([first.layout, second.layout], self.engine.rows)
            first, second = (self._settled(index, each, lanes) for each in sources)
        grid = first.layout.grid
        operation = Operation(
            layer=index,
            name=layer.name,
            mode=Mode.LOOKUP.name,
            shape=(grid[0] * grid[1], 2, layer.shape[-1]),
            sources=(first.buffer, second.buffer),
            destination=destination.buffer,
            weight_words=0,
        )
        work = Work(operation=operation, sources=(first, second), destination=destination, addition=layer)
        self.works.append(work)

    def _settled(self, index: int, source: Stored, lanes: np.ndarray) -> Stored:
        """Return a tensor in the activation memory, with its words for itself and such lanes: a copy if need be."""
        layout = plain(source.layout.shape, lanes, exchanged=self.variant.exchanged)
        if (
            source.buffer != INPUT
            and np.array_equal(source.layout.lanes, lanes)
            and source.layout.pitches == layout.pitches
        ):
            return source
        copied = self._new(layout)
        self._copy(index, source, copied, "the tensors that are added do not lie alike")
        return copied

    def _copy(self, index: int, source: Stored, destination: Stored, why: str) -> None:
        name = self.network.layers[index].name
        in_place = np.array_equal(source.layout.lanes, destination.layout.lanes)
        self._multiply(index, copy_of(self.engine, name, source.layout, in_place=in_place), source, destination, why)

    def _multiply(self, index: int, product: Product, source: Stored, destination: Stored, why: str = "") -> None:
        tiling = tile(self.engine, product, source.layout)
        size, weights = product.window.out_size, product.weights
        operation = Operation(
            layer=index,
            name=product.name,
            mode=f"copy, {tiling.mode.name}" if why else tiling.mode.name,
            shape=(size[0] * size[1], weights.size // weights.shape[3], weights.shape[3]),
            sources=(source.buffer,),
            destination=destination.buffer,
            weight_words=tiling.weight_words,
            reason=f"copied: {why}" if why else self._why(product, tiling, source),
        )
        work = Work(operation=operation, sources=(source,), destination=destination, product=product, tiling=tiling)
        self.works.append(work)

    def _why(self, product: Product, tiling: Tiling, source: Stored) -> str:
        """Say how a product is cut, where that is not plain."""
        said = []
        if source.layout.cell != (1, 1):
            said.append(f"cells of {source.layout.cell[0]} × {source.layout.cell[1]} pixels take away the strides")
        if tiling.used > 1:
            of_lanes = f"of {tiling.pack} lanes in a vector" if tiling.pack else "by taps"
            said.append(f"{tiling.used} neighbours at a time {of_lanes}")
        if product.channelwise and tiling.mode is Mode.MATRIX:
            said.append("a matrix with one weight to a column: there are no taps")
        elif len(tiling.runs) > 1:
            said.append(f"{len(tiling.runs)} steps, each for the channels of some groups")
        if source.layout.exchanged:
            said.append("rows and columns exchanged")
        return "; ".join(said)

    def _finish(self) -> None:
        """Have the last tensor where results are read from, which no operation reads."""
        last = self._stored[self.count]
        if last.buffer != INPUT and not any(last.buffer in work.operation.sources for work in self.works):
            return
        lanes = last.layout.lanes
        if not self.engine.resolved_taps:
            lanes = in_order(last.layout.shape[-1], self.engine.rows)
        copied = self._new(plain(last.layout.shape, lanes, exchanged=self.variant.exchanged))
        self._copy(self.count - 1, last, copied, "results are read from a memory of their own")
        self._stored[self.count] = copied
        self.after[self.count] = len(self.works) - 1


def _common(layouts: Sequence[Layout], lanes: int) -> np.ndarray:
    """Return the lanes in which tensors are added: those that both have, or else all channels in order."""
    first, second = layouts
    same = np.array_equal(first.lanes, second.lanes)
    return first.lanes if same else in_order(first.shape[-1], lanes)


def _alike(first: Stored, second: Stored) -> bool:
    """Whether two tensors are in one memory and lie alike."""
    a, b = first.layout, second.layout
    return (
        (first.buffer == INPUT) == (second.buffer == INPUT)
        and a.pitches == b.pitches
        and a.exchanged == b.exchanged
        and np.array_equal(a.lanes, b.lanes)
    )


def offsets(engine: SystolicConfig, network: Network, tensor: int) -> int:
    """Return the offset from the integers of a tensor of the network to the engine's."""
    layer = network.layers[tensor - 1] if tensor else network.layers[0]
    return offsets_of(engine, layer)[1 if tensor else 0]


def best_graph(engine: SystolicConfig, network: Network) -> Graph:
    """Return the layout with the fewest cycles.

    Raises
    ------
    CompileError
        There is none: what is wrong with the plain one.
    """
    return _best_graph(replace(engine, post_lanes=1, lookup_tables=0), network)


@lru_cache(maxsize=1)
def _best_graph(engine: SystolicConfig, network: Network) -> Graph:
    """Return what `best_graph` does, for an engine without what no layout depends on: sweeps vary that, too."""
    graphs, errors = [], []
    for variant in variants(engine, network):
        try:
            graphs.append(Graph(engine, network, variant))
        except CompileError as error:
            errors.append(error)
    if not graphs:
        raise errors[0]
    return min(graphs, key=lambda graph: graph.cycles)
