"""What the binary engine should do for one output: which passes and beats, with which operands, sums and counts."""

from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, product

import numpy as np

from celosia.hw.registry import find_engine
from celosia.sim.golden.binary import run_layer
from celosia.sim.mismatch.binary_place import BEAT_LOOPS, Place

POSITIONS = ("bit plane", "weight plane", "kernel row", "kernel col", "chunk")
"""What BEAT_LOOPS count."""


def integer_of_word(word: np.ndarray) -> int:
    """Return a memory word, uint32 (32-bit words of it,), as one number."""
    return int.from_bytes(np.ascontiguousarray(word, dtype="<u4").tobytes(), "little")


@dataclass(frozen=True, kw_only=True)
class Beat:
    """One beat of a pass: what meets in the PE.

    Parameters
    ----------
    place : tuple of int
        Where it is in BEAT_LOOPS.
    outside : bool
        Whether it looks at padding.
    muted, double, inverted : bool
        Whether it adds nothing; whether the sum is doubled before; whether the activations are inverted.
    address : int
        Word of the activations; means nothing outside.
    weights_address : int
        Word of the weights.
    stored : int
        Activation word in memory; 0 outside.
    activations, weights : int
        What the PE counts differences of.
    """

    place: tuple[int, ...]
    outside: bool
    muted: bool
    double: bool
    inverted: bool
    address: int
    weights_address: int
    stored: int
    activations: int
    weights: int

    @property
    def matches(self) -> int:
        """What is added to the sum."""
        return 0 if self.muted else (self.activations ^ self.weights).bit_count()


@dataclass(frozen=True, kw_only=True, eq=False)
class Pass:
    """One place of the pooling window: a sum, and what the drain makes of it.

    Parameters
    ----------
    output : Output
        Whose.
    pool_row, pool_col : int
        The place.
    """

    output: "Output"
    pool_row: int
    pool_col: int

    @property
    def position(self) -> dict[str, int]:
        """Which pass it is, where there are several."""
        return {"pool row": self.pool_row, "pool col": self.pool_col} if len(self.output.passes) > 1 else {}

    @property
    def first_beat(self) -> int:
        """Number of its first beat in the run."""
        pool_cols = self.output.fields["pool_cols"]
        return self.output.pass_beat(self.output.fold, self.pool_row * pool_cols + self.pool_col)

    @cached_property
    def beats(self) -> list[Beat]:
        """Its beats, in order."""
        return [self._beat(place) for place in product(*(range(self.output.fields[loop]) for loop in BEAT_LOOPS))]

    def _beat(self, place: tuple[int, ...]) -> Beat:
        output, fields = self.output, self.output.fields
        plane, weight_plane, kernel_row, kernel_col, chunk = place
        row = output.out_row * fields["window_rows"] + self.pool_row * fields["stride_rows"]
        col = output.out_col * fields["window_cols"] + self.pool_col * fields["stride_cols"]
        row, col = row + kernel_row - fields["pad_top"], col + kernel_col - fields["pad_left"]
        outside = not (0 <= row < fields["in_rows"] and 0 <= col < fields["in_cols"])
        word = ((row * fields["in_cols"] + col) * fields["planes"] + plane) * fields["chunks"] + chunk
        stored = 0 if outside else integer_of_word(output.words[word])
        inverted = bool(fields["inverted"] >> plane & 1)
        all_lanes = (1 << output.engine.simd) - 1
        weight = (weight_plane * fields["kernel_rows"] + kernel_row) * fields["kernel_cols"] + kernel_col
        return Beat(
            place=place,
            outside=outside,
            muted=outside and bool(fields["mute"]),
            double=plane > 0 and not any(place[1:]),
            inverted=inverted,
            address=output.run.source + output.vector * output.arranged.input_words + word,
            weights_address=output.weights_base + weight * fields["chunks"] + chunk,
            stored=stored,
            activations=stored ^ (all_lanes if inverted else 0),
            weights=output.weight_bits(weight_plane, kernel_row, kernel_col, chunk),
        )

    @cached_property
    def sums(self) -> list[int]:
        """The sum behind each beat."""
        after = accumulate(self.beats, lambda acc, beat: (2 * acc if beat.double else acc) + beat.matches, initial=0)
        return list(after)[1:]

    @cached_property
    def correction(self) -> int:
        """What is added to twice the sum for padding that adds nothing."""
        last = self.output.fields["chunks"] - 1
        muted = sum(beat.muted and beat.place[-1] == last for beat in self.beats)
        return muted * int(self.output.fields["pad_correction"])

    @property
    def doubled(self) -> int:
        """Twice the sum, corrected."""
        return 2 * self.sums[-1] + self.correction

    @property
    def results(self) -> list[int]:
        """The same with each parameter added."""
        return [self.doubled + parameter for parameter in self.output.parameters]

    @property
    def count(self) -> int:
        """Thresholds that are reached."""
        return sum(result >= 0 for result in self.results)


@dataclass(frozen=True, kw_only=True, eq=False)
class Output(Place):
    """One output of a layer: what it is made from, and what it should be; parameters as for its place."""

    @cached_property
    def words(self) -> np.ndarray:
        """The input vector as it is in memory: uint32 (input_words, 32-bit words of a memory word)."""
        packer = find_engine(self.run.config.engine_name).packer
        x = self.run.x[self.vector : self.vector + 1]
        result: np.ndarray = packer.pack_inputs(self.run.config, self.arranged, x)
        return result

    def weight_bits(self, plane: int, row: int, col: int, chunk: int) -> int:
        """Return the weights of the channel in a beat, 1 for −1; a 0 is −1 in the second plane only."""
        simd = self.engine.simd
        weights = self.arranged.conv.weights[row, col, chunk * simd : (chunk + 1) * simd, self.channel]
        bits = weights <= 0 if plane else weights < 0
        return int.from_bytes(np.packbits(bits, bitorder="little").tobytes(), "little")

    @cached_property
    def parameters(self) -> list[int]:
        """What is added to twice the sum: for each threshold, or one number."""
        values: list[int] = self.arranged.parameters[self.fold * self.engine.groups + self.group, :, self.lane].tolist()
        return values

    @property
    def parameters_address(self) -> int:
        """Word of the first of them."""
        groups = (self.fold - self.first_fold) * self.engine.groups + self.group
        return int(self.fields["parameters"]) + groups * len(self.parameters)

    @cached_property
    def passes(self) -> list[Pass]:
        """Its passes, in order."""
        rows, cols = range(self.fields["pool_rows"]), range(self.fields["pool_cols"])
        return [Pass(output=self, pool_row=row, pool_col=col) for row, col in product(rows, cols)]

    # -- what it should be --

    @property
    def code(self) -> int:
        """What is written: a code as it is stored, or a sum."""
        if self.is_raw:
            return self.passes[0].results[0] >> int(self.fields["raw_shift"])
        return max(each.count for each in self.passes) ^ int(self.fields["output_flip"])

    @property
    def value(self) -> int:
        """The same as one of the network's integers."""
        if self.is_raw:
            return self.code
        codes = self.arranged.output
        return int(codes.minimum + codes.step * (self.code ^ codes.flip))

    @property
    def golden(self) -> int:
        """What the golden model says, which knows nothing of planes, matches and parameters."""
        return int(run_layer(self.arranged, self.run.x[self.vector : self.vector + 1]).reshape(-1)[self.index])
