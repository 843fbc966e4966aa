"""Steps of the systolic engine, exactly: what `celosia.hw.systolic.layer` says, from descriptors and memories alone."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from celosia.hw.config import AcceleratorConfig
from celosia.hw.post.parameters import ROUNDINGS
from celosia.hw.systolic.config import SystolicConfig
from celosia.hw.systolic.layer import Mode
from celosia.sim.golden.requantize import requantize

Fields = Mapping[str, int]
"""The numbers of a descriptor."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Beats:
    """Places of the walk over pixels, one after the other.

    Parameters
    ----------
    address, row, col : ndarray of int64, (beats,)
        Word, before it is taken modulo the address's width, and place in the image.
    sums : ndarray of bool, (beats,)
        Whether the beat ends in a sum.
    """

    address: np.ndarray
    row: np.ndarray
    col: np.ndarray
    sums: np.ndarray

    def __getitem__(self, part: slice) -> "Beats":
        return Beats(address=self.address[part], row=self.row[part], col=self.col[part], sums=self.sums[part])


@dataclass(frozen=True, kw_only=True, eq=False)
class KTile:
    """One K tile's share of the sums of an N tile.

    Parameters
    ----------
    address, row, col : int
        What is added to the places of the pixels.
    outside : ndarray of bool, (beats,)
        Whether the place is outside of the image.
    addresses : ndarray of int64, (beats,)
        Word that is read; where `outside` it means nothing.
    words, vectors : ndarray of int64, (beats, rows)
        What is read, padding in its place; the same as it is packed for the array.
    weights : ndarray of int64, (rows, cols)
        Active weights, those that are left of tiles before below the last `loaded` row.
    loaded : int
        Rows of weights that come with this tile: the last of them to row 0.
    first_word : int
        Word of the first of them: address in the weight memory, or number in the stream.
    sums : ndarray of int64, (sums, cols)
        What is in the accumulators after this tile.
    """

    address: int
    row: int
    col: int
    outside: np.ndarray
    addresses: np.ndarray
    words: np.ndarray
    vectors: np.ndarray
    weights: np.ndarray
    loaded: int
    first_word: int
    sums: np.ndarray


@dataclass(frozen=True, kw_only=True, eq=False)
class NTile:
    """The sums of one N tile in one block, and what the drain makes of them.

    Parameters
    ----------
    block, number : int
        Which block, and which N tile.
    beats : Beats
        Of the block, which each K tile has.
    k_tiles : list of KTile
    results : ndarray of int64, (sums, channels)
        Requantized; channel c is that of column c.
    outputs : ndarray of int64, (sums / pool, channels)
        The greatest of each pool, which is written.
    addresses : ndarray of int64, (sums / pool, channels)
        Word that each of them goes to.
    first_lane : int
        Lane of channel 0 in its word; those of the others follow, in this word and in the next ones.
    first_parameters : int
        Word of the parameters of the first lanes.
    """

    block: int
    number: int
    beats: Beats
    k_tiles: list[KTile]
    results: np.ndarray
    outputs: np.ndarray
    addresses: np.ndarray
    first_lane: int
    first_parameters: int


class Machine:
    """An accelerator's memories, as integers, and steps that are executed on them.

    Attributes
    ----------
    memories : dict
        ``inputs``, ``activations`` and ``outputs``: int64 (depth, rows); ``weights`` (depth, cols); ``tables`` (depth,
        rows); ``parameters``: bias, multiplier, shift and enable, each (depth, post_lanes). Those that no one has
        written are not there, but for the first three.
    stream : ndarray of int64, (words, cols)
        Streamed weights, of which `streamed` have been taken.
    """

    def __init__(self, config: AcceleratorConfig) -> None:
        engine = config.engine
        assert isinstance(engine, SystolicConfig)
        self.config, self.engine = config, engine
        self.memories: dict[str, Any] = {
            name: np.zeros((config.memory(name).depth, engine.rows), dtype=np.int64)
            for name in ("inputs", "activations", "outputs")
        }
        self.stream = np.zeros((0, engine.cols), dtype=np.int64)
        self.streamed = 0
        self._widths = {field.name: field.width for field in config.layer_fields}
        self._shadow = np.zeros((engine.rows, engine.cols), dtype=np.int64)
        self._vector = np.zeros(engine.rows, dtype=np.int64)

    def run(self, step: Fields) -> None:
        """Execute a step."""
        for _ in self.tiles(step):
            pass

    def tiles(self, step: Fields) -> Iterator[NTile]:
        """Execute a step, and yield each N tile of each block when it is written."""
        sums, first_output = _block_sums(step), 0
        beats = walk_pixels(step)
        places = walk_kernel(step)
        ends = np.flatnonzero(beats.sums)[np.cumsum(sums) - 1] + 1
        first_word = step["weights"]
        for block, (first, end) in enumerate(zip([0, *ends[:-1]], ends, strict=True)):
            word = first_word
            for number in range(step["n_tiles"]):
                k_tiles: list[KTile] = []
                for place in places:
                    before = k_tiles[-1].sums if k_tiles else np.zeros((sums[block], self.engine.cols), dtype=np.int64)
                    k_tiles.append(self._k_tile(step, beats[first:end], number, len(k_tiles), place, word, before))
                    word += k_tiles[-1].loaded
                yield self._drain(step, block, number, beats[first:end], k_tiles, first_output)
            first_output += sums[block] // step["pool"]

    def address(self, name: str, number: int | np.ndarray) -> Any:
        """Return an address as a field of that name has it: modulo its width."""
        return number & ((1 << self._widths[name]) - 1)

    def wrap(self, sums: Any) -> Any:
        """Return sums as accumulators hold them."""
        half = 1 << (self.engine.resolved_accumulator_width - 1)
        return (sums + half) % (2 * half) - half

    def _k_tile(
        self,
        step: Fields,
        beats: Beats,
        n_tile: int,
        number: int,
        place: tuple[int, int, int],
        word: int,
        before: np.ndarray,
    ) -> KTile:
        loaded = 0
        if step["mode"] != Mode.LOOKUP:
            loaded = step["k_edge"] if number == step["k_tiles"] - 1 else step["k_rows"]
            word = self._load(step, word, loaded)
        address, row, col = place[0] + n_tile * step["n_step"], place[1], place[2]
        outside = is_outside(step, beats.row + row, beats.col + col)
        source = self.memories["activations" if step["source_is_activations"] else "inputs"]
        addresses = self.address("source", beats.address + address)
        words = np.where(outside[:, None], step["pad_value"], source[addresses % len(source)])
        vectors = self._pack(step, words)
        return KTile(
            address=address,
            row=row,
            col=col,
            outside=outside,
            addresses=addresses,
            words=words,
            vectors=vectors,
            weights=self._shadow,
            loaded=loaded,
            first_word=word,
            sums=self.wrap(before + self._multiply(step, vectors, number)[beats.sums]),
        )

    def _load(self, step: Fields, word: int, count: int) -> int:
        """Shift rows of weights into the array, and return the number of the first."""
        if step["weights_stream"]:
            word, self.streamed = self.streamed, self.streamed + count
            rows = self.stream[word : word + count]
        else:
            rows = self.memories["weights"][word : word + count]
        self._shadow = np.concatenate([rows[::-1], self._shadow[: self.engine.rows - count]])
        return word

    def _pack(self, step: Fields, words: np.ndarray) -> np.ndarray:
        vectors, rows = words, self.engine.rows
        if step["pack"]:
            lanes = 1 << (step["pack"] - 1)
            lane = np.arange(rows)
            beat = np.arange(len(words))[:, None] - lane // lanes
            held = lane - (np.arange(len(words))[:, None] + 1) * lanes  # of the vector before the first one
            vectors = np.where(beat >= 0, words[np.maximum(beat, 0), lane % lanes], self._vector[np.maximum(held, 0)])
        self._vector = vectors[-1]
        return vectors

    def _multiply(self, step: Fields, vectors: np.ndarray, k_tile: int) -> np.ndarray:
        """Return what the array gives for each beat."""
        rows, cols = self.engine.rows, self.engine.cols
        if step["mode"] == Mode.MATRIX:
            product: np.ndarray = vectors.astype(np.float64) @ self._shadow.astype(np.float64)  # less than 2**53: exact
            return product.astype(np.int64)
        result = np.zeros((len(vectors), cols), dtype=np.int64)
        if step["mode"] == Mode.LOOKUP:
            result[:, :rows] = self.memories["tables"][self.entries(step, vectors, k_tile), np.arange(rows)]
            return result
        for tap in range(self.engine.resolved_taps):
            before = step["lead"] - tap
            if before >= 0:
                result[before:, :rows] += vectors[: len(vectors) - before] * self._shadow[tap, :rows]
            else:
                assert not self._shadow[tap, :rows].any(), "a tap that is not used has weights"
        return result

    def entries(self, step: Fields, vectors: np.ndarray, k_tile: int) -> np.ndarray:
        """Return the words of lookup tables that activations ask for."""
        width = self.engine.activation_width
        words: np.ndarray = ((step["table"] + k_tile) << width) + vectors % (1 << width)
        return words

    def _drain(
        self, step: Fields, block: int, number: int, beats: Beats, k_tiles: list[KTile], first_output: int
    ) -> NTile:
        rows, lanes = self.engine.rows, self.engine.resolved_post_lanes
        groups = step["n_edge"] if number == step["n_tiles"] - 1 else step["n_groups"]
        parameters = step["parameters"] + number * step["n_groups"]
        channels = groups * lanes
        bias, multiplier, shift, enable = (
            np.asarray(values[parameters : parameters + groups]).reshape(channels)
            for values in self.memories["parameters"]
        )
        results = requantize(
            k_tiles[-1].sums[:, :channels],
            bias,
            multiplier,
            shift,
            rounding=ROUNDINGS[step["rounding"]],
            zero_point=step["zero_point"],
            minimum=step["minimum"],
            maximum=step["maximum"],
        )
        results = np.where(enable, results, 0)
        outputs = results.reshape(-1, step["pool"], channels).max(axis=1)
        lane = number * step["n_groups"] * lanes + np.arange(channels)
        vectors = first_output + np.arange(len(outputs))
        addresses = self.address(
            "destination", step["destination"] + lane // rows + step["destination_pitch"] * vectors[:, None]
        )
        memory = self.memories["outputs" if step["destination_is_outputs"] else "activations"]
        for channel in range(0, channels, lanes):  # lanes above a group become 0
            words, first = addresses[:, channel] % len(memory), int(lane[channel]) % rows
            memory[words, first:] = 0
            memory[words, first : first + lanes] = outputs[:, channel : channel + lanes]
        return NTile(
            block=block,
            number=number,
            beats=beats,
            k_tiles=k_tiles,
            results=results,
            outputs=outputs,
            addresses=addresses,
            first_lane=int(lane[0]) % rows,
            first_parameters=parameters,
        )


def _block_sums(step: Fields) -> list[int]:
    """Return the sums of each block."""
    return [step["block_rows"]] * (step["blocks"] - 1) + [step["last_block_rows"]]


def walk_pixels(step: Fields) -> Beats:
    """Return the walk over pixels, up to the last beat that sums."""
    shape = step["line"], step["pool_rows"], step["pool_cols"]
    of_line = np.zeros(step["line"], dtype=bool)
    of_line[step["lead"] :: step["decimation"] + 1] = True
    wanted = sum(_block_sums(step))
    lines = -(-wanted // (int(of_line.sum()) * shape[1] * shape[2]))
    steps = np.full(shape, step["pool_col_step"])
    steps[:, :, -1] = step["pool_row_step"]
    steps[:, -1, -1] = step["col_step"]
    steps[-1, -1, -1] = step["line_step"]
    line, beat, y, x = (axis.ravel() for axis in np.indices((lines, *shape)))
    sums = of_line[beat]
    end = int(np.flatnonzero(sums)[wanted - 1]) + 1
    return Beats(
        address=step["source"] + np.concatenate([[0], np.cumsum(np.tile(steps.ravel(), lines))[:-1]]),
        row=line * step["stride_rows"] - step["pad_top"] + y * step["pool_stride_rows"],
        col=beat * step["stride_cols"] - step["pad_left"] + x * step["pool_stride_cols"],
        sums=sums,
    )[:end]


def walk_kernel(step: Fields) -> list[tuple[int, int, int]]:
    """Return what each K tile adds to the address, the row and the column of a pixel."""
    address = row = col = chunk = 0
    places = []
    for _ in range(step["k_tiles"]):
        places.append((address, row * step["dilation_rows"], col * step["dilation_cols"]))
        chunk += 1
        if chunk < step["chunks"]:
            address += 1
            continue
        chunk, col = 0, col + 1
        if col < step["kernel_cols"]:
            address += step["kernel_col_step"]
        else:
            row, col, address = row + 1, 0, address + step["kernel_row_step"]
    return places


def is_outside(step: Fields, row: np.ndarray, col: np.ndarray) -> np.ndarray:
    """Return whether places are outside of the image."""
    outside: np.ndarray = (row < 0) | (row >= step["in_rows"]) | (col < 0) | (col >= step["in_cols"])
    return outside
