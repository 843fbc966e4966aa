"""Packs networks for the systolic engine: dense layers, convolutions, pooling, additions, and what lies between.

The parts: `systolic_layout` (how tensors lie in words); `systolic_product`, `systolic_lowering` and `systolic_pool`
(what is computed for a layer); `systolic_tiles` (how that is cut); `systolic_variants` and `systolic_graph` (where
tensors are); `systolic_windows` (descriptors); `systolic_weights` (weights, parameters, tables).
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import accumulate
from typing import Any

import numpy as np

from celosia.host.errors import CompileError
from celosia.host.models.elementwise import Add
from celosia.host.models.ir import Network
from celosia.host.pack import systolic_product as product
from celosia.host.pack.image import Deferred
from celosia.host.pack.step import MAX_VECTORS, Location, Operation, Place, Step, StoredTensor
from celosia.host.pack.systolic_graph import INPUT, Stored, Work, best_graph, offsets
from celosia.host.pack.systolic_layout import Layout
from celosia.host.pack.systolic_product import Product, offsets_of
from celosia.host.pack.systolic_weights import (
    lane_parameter_words,
    lane_parameters,
    pack_parameters,
    pack_table,
    pack_weights,
    parameter_words,
    summands,
)
from celosia.host.pack.systolic_windows import Walk, pixel_by_pixel, rectangles, requantization, step_beats, walk
from celosia.hw.config import AcceleratorConfig
from celosia.hw.lanes import Words, pack_lanes, unpack_lanes
from celosia.hw.systolic.config import SystolicConfig
from celosia.hw.systolic.layer import Mode


def ring_words(config: AcceleratorConfig) -> int:
    """Return the words that a ring for streamed weights should have: one tile arrives while one is loaded."""
    return 2 * _engine(config).rows


def activation_offset(config: AcceleratorConfig, dtype: str) -> int:
    """Return what turns a type's integers into the engine's: 0 where they fit, else the distance of the ranges.

    Raises
    ------
    CompileError
        The type is wider than the engine's activations.
    """
    return product.activation_offset(_engine(config), dtype)


def arrange_network(config: AcceleratorConfig, network: Network, options: None = None) -> "SystolicArrangement":
    """Check and arrange a network, in the way that takes the fewest cycles.

    Raises
    ------
    CompileError
        A layer is of another kind, its integers do not fit the engine's widths, or a tensor cannot lie as it is needed.
    """
    assert options is None, "the systolic engine leaves nothing to choose"
    return SystolicArrangement(config, network)


def _engine(config: AcceleratorConfig) -> SystolicConfig:
    assert isinstance(config.engine, SystolicConfig)
    return config.engine


class SystolicArrangement:
    """A network as an :class:`celosia.host.pack.step.Arrangement`.

    Attributes
    ----------
    graph : celosia.host.pack.systolic_graph.Graph
        How tensors lie, and what is done.
    """

    def __init__(self, config: AcceleratorConfig, network: Network) -> None:
        self._config, self._network, self._engine = config, network, _engine(config)
        self.graph = best_graph(self._engine, network)
        self.operations: Sequence[Operation] = [work.operation for work in self.graph.works]
        self.buffers: Sequence[int] = self.graph.buffers
        self.input, self.output = INPUT, self.graph.output
        self.tensors = [
            StoredTensor(buffer=stored.buffer, after=after)
            for stored, after in zip(self.graph.stored, self.graph.after, strict=True)
        ]
        on_host = range(self.graph.count, len(network.layers))
        self.reasons = self.graph.reasons | dict.fromkeys(on_host, "computed by the host from the engine's results")
        self._tables, self._table_of = self._lookup_tables()
        self._address = (1 << next(field.width for field in config.layer_fields if field.name == "source")) - 1

    def arranged(self, layer: int) -> Any:  # noqa: ARG002
        """Return nothing: golden and cycle model depend on the layer and the descriptors alone."""
        return None

    def most_vectors(self, places: Sequence[Place]) -> int:  # noqa: ARG002
        """Return any number for dense layers and those that compute each element for itself, else 1."""
        grids = [stored.layout.grid for work in self.graph.works for stored in (*work.sources, work.destination)]
        windows = [work.product.window for work in self.graph.works if work.product is not None]
        padded = any(any(window.padding) for window in windows)
        return MAX_VECTORS if {*grids, *(window.kernel for window in windows)} == {(1, 1)} and not padded else 1

    def loads(self, places: Sequence[Place]) -> list[Step]:  # noqa: ARG002
        """Return the steps that load resident weights: none, they are written."""
        return []

    def _lookup_tables(self) -> tuple[list[np.ndarray], dict[int, int]]:
        """Return the tables that additions need, equal ones once, and by number of the work that of its first one."""
        tables: list[np.ndarray] = []
        numbers: dict[int, int] = {}
        for index, work in enumerate(self.graph.works):
            if work.addition is None:
                continue
            offset = offsets_of(self._engine, work.addition)[0]
            width = self._engine.activation_width
            pair = [summands(work.addition, operand, offset, width) for operand in (0, 1)]
            _check_summands(self._engine, work.addition, pair)
            known = [
                number
                for number in range(len(tables) - 1)
                if all(np.array_equal(tables[number + operand], pair[operand]) for operand in (0, 1))
            ]
            if not known:
                shared = bool(tables) and np.array_equal(tables[-1], pair[0])
                known = [len(tables) - shared]
                tables += pair[int(shared) :]
            numbers[index] = known[0]
        if len(tables) > self._engine.lookup_tables:
            names = [work.operation.name for work in self.graph.works if work.addition is not None]
            raise CompileError(
                f"layer {names[0]!r} and others like it add tensors, for which they need {len(tables)} lookup tables; "
                f"the engine has {self._engine.lookup_tables}, set lookup_tables={len(tables)} or higher."
            )
        return tables, numbers

    @property
    def lookup_tables(self) -> int:
        """Lookup tables that are needed."""
        return len(self._tables)

    def steps(self, vectors: int, places: Sequence[Place], locations: Sequence[Location]) -> list[list[Step]]:
        """Return the steps of each operation."""
        result = []
        for index, (work, place) in enumerate(zip(self.graph.works, places, strict=True)):
            if work.addition is not None:
                result.append([self._addition(index, work, work.addition, vectors, locations)])
            else:
                result.append(self._products(work, vectors, place, locations))
        return result

    def _several(self, stored: Stored, vectors: int) -> Layout:
        """Return how a tensor lies with all inputs of an iteration: pixels of one line, a buffer's words apart."""
        pitch = self.graph.buffers[stored.buffer]
        return stored.layout if vectors == 1 else replace(stored.layout, pitches=(pitch, pitch))

    def _products(self, work: Work, vectors: int, place: Place, locations: Sequence[Location]) -> list[Step]:
        """Return a step for each rectangle and run of a product."""
        made, tiling, (stored,) = work.product, work.tiling, work.sources
        assert made is not None
        assert tiling is not None
        if vectors > 1:
            made = _of_vectors(made, vectors)
        source, destination = self._several(stored, vectors), self._several(work.destination, vectors)
        weights = [
            Deferred(run.weight_words, partial(pack_weights, self._engine, made, tiling, run, source))
            for run in tiling.runs
        ]
        firsts = list(accumulate((run.weight_words for run in tiling.runs), initial=place.address))
        sent = False
        steps = []
        for part in made.parts:
            parameters = [
                Deferred(
                    parameter_words(self._engine, tiling, run, source),
                    partial(pack_parameters, self._engine, made, part, tiling, run, source),
                )
                for run in tiling.runs
            ]
            for rectangle in rectangles(part, made.window.out_size):
                for number, run in enumerate(tiling.runs):
                    walked = walk(self._engine, made, tiling, run, rectangle, source, destination, stream=place.stream)
                    fields = {
                        **walked.fields,
                        **self._addresses(walked, stored, work.destination, locations),
                        **requantization(made.rounding, made.zero_point, made.minimum, made.maximum),
                        "mode": int(tiling.mode),
                        "table": 0,
                        "weights_stream": int(place.stream),
                        "weights": 0 if place.stream else firsts[number],
                    }
                    steps.append(
                        Step(
                            fields=fields,
                            images={"parameters": ("parameters", parameters[number], 1)},
                            weights=weights[number] if place.stream or not sent else None,
                            passes=fields["blocks"],
                            read_words=step_beats(fields),
                            written_words=self._written(fields),
                            weight_read_words=_weight_rows(fields),
                        )
                    )
                sent = True
        return steps

    def _written(self, fields: Mapping[str, int]) -> int:
        """Return the words that a step writes."""
        vectors = ((fields["blocks"] - 1) * fields["block_rows"] + fields["last_block_rows"]) // fields["pool"]
        groups = (fields["n_tiles"] - 1) * fields["n_groups"] + fields["n_edge"]
        return vectors * -(-groups // self._engine.write_lanes)

    def _addition(self, index: int, work: Work, layer: Add, vectors: int, locations: Sequence[Location]) -> Step:
        """Return the step of an addition; the first one brings all tables."""
        first, second = work.sources
        source, destination = self._several(first, vectors), self._several(work.destination, vectors)
        distance = locations[second.buffer].address + second.offset - locations[first.buffer].address - first.offset
        size = source.grid if vectors == 1 else (1, vectors)
        walked = pixel_by_pixel(self._engine, source, destination, size, distance)
        offset = offsets_of(self._engine, layer)[1]
        clamp = layer.output_zero_point + offset, layer.minimum + offset, layer.maximum + offset
        constants = [
            np.full(layer.shape[-1], value, dtype=np.int64)
            for value in (0, layer.output_multiplier, layer.output_shift)
        ]
        parameters = Deferred(
            lane_parameter_words(self._engine, source), partial(lane_parameters, self._engine, source, *constants)
        )
        images: dict[str, tuple[str, Words | Deferred | None, int]] = {"parameters": ("parameters", parameters, 1)}
        if index == min(self._table_of):
            tables = np.concatenate([pack_table(self._engine, table) for table in self._tables])
            images["table"] = ("tables", tables, 1)  # from address 0 on, and this is number 0
        fields = {
            **walked.fields,
            **self._addresses(walked, first, work.destination, locations),
            **requantization(layer.rounding, *clamp),
            "mode": int(Mode.LOOKUP),
            "table": self._table_of[index],
            "weights_stream": 0,
            "weights": 0,
        }
        return Step(
            fields=fields,
            images=images,
            weights=None,
            read_words=step_beats(fields),
            written_words=self._written(fields),
            weight_read_words=0,
        )

    def _addresses(
        self, walked: Walk, source: Stored, destination: Stored, locations: Sequence[Location]
    ) -> dict[str, int]:
        """Return the addresses of a step, and its steps from address to address as memory counts them: modulo."""
        taken, given = locations[source.buffer], locations[destination.buffer]
        return {
            "source_is_activations": int(taken.memory == "activations"),
            "source": (taken.address + source.offset + walked.source_offset) & self._address,
            "destination_is_outputs": int(given.memory == "outputs"),
            "destination": given.address + destination.offset + walked.destination_offset,
            **{name: value & self._address for name, value in walked.fields.items() if name.endswith("_step")},
        }

    def pack_inputs(self, values: np.ndarray) -> Words:
        """Turn inputs (n, elements) into words; lanes without an element are 0, or where they pad, the zero point."""
        layout, lanes = self.graph.stored[0].layout, self._engine.rows
        offset = offsets(self._engine, self._network, 0)
        words = self.buffers[INPUT]
        flat = np.zeros((len(values), words * lanes), dtype=np.int64)
        flat[:, layout.padding] = self._network.input_zero_point + offset
        flat[:, layout.positions] = values + offset
        return pack_lanes(flat.reshape(-1, lanes), self._engine.activation_width)

    def unpack(self, tensor: int, words: Words) -> np.ndarray:
        """Return a tensor of the network from the words of its buffer: int64, (vectors, elements)."""
        stored, engine = self.graph.stored[tensor], self._engine
        values = unpack_lanes(words, engine.rows, engine.activation_width, signed=engine.activation_signed)
        flat = values.reshape(-1, self.buffers[stored.buffer] * engine.rows)
        return flat[:, stored.offset * engine.rows + stored.layout.positions] - offsets(engine, self._network, tensor)


def _of_vectors(made: Product, vectors: int) -> Product:
    """Return a product of one pixel for many of them, in one line."""
    window = replace(made.window, in_size=(1, vectors), out_size=(1, vectors), strides=(1, 1))
    return replace(made, window=window, parts=tuple(replace(part, cols=(0, vectors)) for part in made.parts))


def _check_summands(engine: SystolicConfig, layer: Add, tables: Sequence[np.ndarray]) -> None:
    """Refuse sums that the accumulators do not hold."""
    least, most = (sum(int(function(table)) for table in tables) for function in (np.min, np.max))
    ends = [int(function(table)) for table in tables for function in (np.min, np.max)]
    least, most = min(least, *ends), max(most, *ends)
    limit = 1 << (engine.resolved_accumulator_width - 1)
    if least < -limit or most >= limit:
        raise CompileError(
            f"layer {layer.name!r} can reach sums from {least} to {most}; accumulator_width="
            f"{engine.resolved_accumulator_width} holds {-limit} to {limit - 1}."
        )


def _weight_rows(fields: Mapping[str, int]) -> int:
    """Return the rows of weights that a step loads, those of each block again."""
    rows = (fields["k_tiles"] - 1) * fields["k_rows"] + fields["k_edge"]
    return fields["blocks"] * fields["n_tiles"] * rows
