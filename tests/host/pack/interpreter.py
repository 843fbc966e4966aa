"""Carries out a program of the systolic engine, from its memory words alone, as `celosia.hw.systolic.layer` says."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from celosia.host.program import Program
from celosia.hw.lanes import pack_lanes, unpack_lanes
from celosia.hw.post.parameters import ROUNDINGS, SHIFT_MAX
from celosia.hw.systolic.layer import Mode
from celosia.sim.golden.network import tensors
from celosia.sim.golden.requantize import requantize


class Interpreter:
    """Memories of a core with the systolic engine, and what a step does to them.

    Whatever no one has written is random.
    """

    def __init__(self, program: Program, seed: int = 1) -> None:
        config = program.config
        engine: Any = config.engine
        self.program, self.config, self.engine = program, config, engine
        self.rng = np.random.default_rng(seed)
        low, high = engine.activation_range
        self.memories = {
            name: self.rng.integers(low, high + 1, (config.memory(name).depth, engine.rows))
            for name in ("inputs", "activations", "outputs")
        }
        self.weights = _signed(program.image.get("weights"), engine.cols, engine.weight_width)
        self.stream = _signed(program.weight_stream, engine.cols, engine.weight_width)
        self.streamed = 0
        self.parameters = self._parameters()
        self.tables = _signed(program.image.get("tables"), engine.rows, engine.resolved_accumulator_width)
        self.array = self.rng.integers(*engine.weight_range, (engine.rows, engine.cols))

    def _parameters(self) -> dict[str, np.ndarray]:
        layout, words = self.engine.parameter_layout, self.program.image["parameters"]
        raw = np.ascontiguousarray(words.astype("<u4")).view(np.uint8).reshape(len(words), -1)
        bits = np.unpackbits(raw, axis=1, bitorder="little")[:, : layout.lanes * layout.channel_width]
        bits = bits.reshape(len(words), layout.lanes, layout.channel_width).astype(np.int64)
        result, offset = {}, 0
        for field in layout.channel:
            value = (bits[..., offset : offset + field.width] << np.arange(field.width)).sum(axis=-1)
            sign = value >> (field.width - 1)
            result[field.name] = value - (sign << field.width) if field.signed else value
            offset += field.width
        code = result["shift"]
        result["shift"] = np.where(code >> 5, SHIFT_MAX - (code & 31), -1 - (code & 31))
        return result

    @property
    def descriptors(self) -> list[dict[str, int]]:
        """The descriptors in the program memory."""
        words, size = self.program.image["program"][:, 0], self.config.layer_fields.words
        return [self.config.layer_fields.unpack(each) for each in words.reshape(-1, size).tolist()]

    def run(self, inputs: np.ndarray) -> Iterator[int]:
        """Run an iteration, and yield the number of each step once it is done."""
        words = self.program.pack_inputs(inputs)
        signed = self.engine.activation_signed
        lanes = unpack_lanes(words, self.engine.rows, self.engine.activation_width, signed=signed)
        self.memories["inputs"][: len(lanes)] = lanes
        for number, step in enumerate(self.descriptors):
            self._step(step)
            yield number
        assert self.streamed == len(self.stream)

    def read(self, memory: str, address: int, words: int) -> np.ndarray:
        """Return lanes as memory words are unpacked: what the program unpacks is packed first."""
        return pack_lanes(self.memories[memory][address : address + words], self.engine.activation_width)

    def _step(self, step: dict[str, int]) -> None:
        pixels, first = list(_pixel_walk(step)), 0
        destination, memory = step["destination"], "outputs" if step["destination_is_outputs"] else "activations"
        for block in range(step["blocks"]):
            sums = step["last_block_rows"] if block == step["blocks"] - 1 else step["block_rows"]
            assert sums % step["pool"] == 0
            end, left = first, sums
            while left:
                left -= pixels[end][3]
                end += 1
            beats = pixels[first:end]
            assert not step["lead"] or beats[0][4], "a block begins inside of a line"
            row = step["weights"]
            for n_tile in range(step["n_tiles"]):
                acc = np.zeros((len(beats), self.engine.cols), dtype=np.int64)
                for k_tile, place in enumerate(_kernel_walk(step)):
                    address = place[0] + n_tile * step["n_step"]
                    vectors = self._vectors(step, beats, address, *place[1:])
                    row = self._load(step, k_tile, row)
                    acc += self._multiply(step, k_tile, vectors)
                    limit = 1 << (self.engine.resolved_accumulator_width - 1)
                    taken = acc[[beat[3] for beat in beats]]
                    assert ((taken >= -limit) & (taken < limit)).all(), "an accumulator overflows"
                self._drain(step, n_tile, taken, memory, destination)
            destination += sums // step["pool"] * step["destination_pitch"]
            first = end
        assert first == len(pixels) or not any(beat[3] for beat in pixels[first:])

    def _vectors(self, step: dict[str, int], beats: list[Any], address: int, row: int, col: int) -> np.ndarray:
        memory = self.memories["activations" if step["source_is_activations"] else "inputs"]
        addresses = (np.array([beat[0] for beat in beats]) + address) % len(memory)
        rows, cols = (np.array([beat[axis] for beat in beats]) + at for axis, at in ((1, row), (2, col)))
        outside = (rows < 0) | (rows >= step["in_rows"]) | (cols < 0) | (cols >= step["in_cols"])
        words = np.where(outside[:, None], step["pad_value"], memory[addresses])
        if not step["pack"]:
            return words
        lanes = 1 << (step["pack"] - 1)
        low, high = self.engine.activation_range
        vectors, last = [], self.rng.integers(low, high + 1, self.engine.rows)
        for word in words:
            last = np.concatenate([word[:lanes], last[: self.engine.rows - lanes]])
            vectors.append(last)
        return np.array(vectors)

    def _load(self, step: dict[str, int], k_tile: int, row: int) -> int:
        if step["mode"] == Mode.LOOKUP:
            return row
        count = step["k_edge"] if k_tile == step["k_tiles"] - 1 else step["k_rows"]
        if step["mode"] == Mode.CHANNELS:
            assert count == self.engine.resolved_taps
        for _ in range(count):
            if step["weights_stream"]:
                weights, self.streamed = self.stream[self.streamed], self.streamed + 1
            else:
                weights, row = self.weights[row], row + 1
            self.array = np.concatenate([weights[None], self.array[:-1]])
        return row

    def _multiply(self, step: dict[str, int], k_tile: int, vectors: np.ndarray) -> np.ndarray:
        sums = np.zeros((len(vectors), self.engine.cols), dtype=np.int64)
        match step["mode"]:
            case Mode.MATRIX:
                return vectors @ self.array
            case Mode.CHANNELS:
                assert not self.array[step["lead"] + 1 : self.engine.resolved_taps].any()
                for before in range(step["lead"] + 1):
                    taken = vectors[: len(vectors) - before]
                    sums[before:, : self.engine.rows] += taken * self.array[step["lead"] - before, : self.engine.rows]
            case Mode.LOOKUP:
                bits = vectors & ((1 << self.engine.activation_width) - 1)
                table = step["table"] + k_tile << self.engine.activation_width
                sums[:, : self.engine.rows] = self.tables[table | bits, np.arange(self.engine.rows)]
        return sums

    def _drain(self, step: dict[str, int], n_tile: int, sums: np.ndarray, memory: str, destination: int) -> None:
        lanes, shares = self.engine.resolved_post_lanes, self.engine.write_lanes
        last = n_tile == step["n_tiles"] - 1
        vectors = len(sums) // step["pool"]
        words = destination + np.arange(vectors) * step["destination_pitch"]
        for group in range(step["n_edge"] if last else step["n_groups"]):
            number = n_tile * step["n_groups"] + group
            given = {name: values[step["parameters"] + number] for name, values in self.parameters.items()}
            values = requantize(
                sums[:, group * lanes : (group + 1) * lanes],
                given["bias"],
                given["multiplier"],
                given["shift"],
                rounding=ROUNDINGS[step["rounding"]],
                zero_point=step["zero_point"],
                minimum=step["minimum"],
                maximum=step["maximum"],
            )
            values = np.where(given["enable"], values, 0).reshape(vectors, step["pool"], lanes).max(axis=1)
            word, share = divmod(number, shares)
            self.memories[memory][words + word, share * lanes : (share + 1) * lanes] = values
        if last:
            self.memories[memory][words + word, (share + 1) * lanes :] = 0


def _signed(words: np.ndarray | None, lanes: int, width: int) -> np.ndarray:
    return np.zeros((0, lanes), dtype=np.int64) if words is None else unpack_lanes(words, lanes, width, signed=True)


def _pixel_walk(step: dict[str, int]) -> Iterator[tuple[int, int, int, bool, bool]]:
    """Yield address, row and column of each beat, whether it sums, and whether it is the first of its line."""
    sums = (step["blocks"] - 1) * step["block_rows"] + step["last_block_rows"]
    address, line = step["source"], 0
    while sums:
        for beat in range(step["line"]):
            since = beat - step["lead"]
            counts = since >= 0 and since % (step["decimation"] + 1) == 0
            for pool_row in range(step["pool_rows"]):
                for pool_col in range(step["pool_cols"]):
                    yield (
                        address,
                        -step["pad_top"] + line * step["stride_rows"] + pool_row * step["pool_stride_rows"],
                        -step["pad_left"] + beat * step["stride_cols"] + pool_col * step["pool_stride_cols"],
                        counts,
                        beat == 0,
                    )
                    sums -= counts
                    if not sums:
                        return
                    if pool_col < step["pool_cols"] - 1:
                        address += step["pool_col_step"]
                    elif pool_row < step["pool_rows"] - 1:
                        address += step["pool_row_step"]
                    elif beat < step["line"] - 1:
                        address += step["col_step"]
                    else:
                        address += step["line_step"]
        line += 1
        assert counts, "the last beat of a line does not sum"


def _kernel_walk(step: dict[str, int]) -> Iterator[tuple[int, int, int]]:
    """Yield the address, row and column of each K tile, relative to the pixel's."""
    address = chunk = col = row = 0
    for _ in range(step["k_tiles"]):
        yield address, row * step["dilation_rows"], col * step["dilation_cols"]
        chunk += 1
        if chunk < step["chunks"]:
            address += 1
            continue
        chunk, col = 0, col + 1
        if col < step["kernel_cols"]:
            address += step["kernel_col_step"]
        else:
            address, col, row = address + step["kernel_row_step"], 0, row + 1


def check(program: Program, inputs: np.ndarray) -> int:
    """Hold every tensor on the device against the golden model, for one iteration; return how many elements."""
    golden = tensors(program.network, inputs)
    machine, count = Interpreter(program), 0
    places = [program.tensor(index) for index in range(len(program.arrangement.tensors))]
    seen = set[int]()

    def look(step: int) -> None:
        nonlocal count
        for place in places:
            if place.after <= step < place.until and (place.index not in seen or step == place.until - 1):
                words = machine.read(place.memory, place.address, place.words)
                values = program.unpack_tensor(place.index, words)[: len(inputs)]
                expected = golden[place.index].reshape(values.shape)
                wrong = np.argwhere(values != expected)
                assert not len(wrong), (
                    f"tensor {place.index} of step {place.after} after step {step}: {len(wrong)} of {values.size} are "
                    f"wrong, first {wrong[0]}: {values[tuple(wrong[0])]}, not {expected[tuple(wrong[0])]}"
                )
                count += 0 if place.index in seen else values.size
                seen.add(place.index)

    for step in machine.run(inputs):
        look(step)
    assert seen == set(range(len(places)))
    results = program.unpack_outputs(machine.read("outputs", 0, program.output_words), len(inputs))
    assert np.array_equal(results, golden[len(places) - 1].reshape(results.shape))
    return count
