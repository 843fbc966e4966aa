"""Configuration of the systolic engine: what can be chosen, and every width that follows from it."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from celosia.hw.checks import check_common_divisor, check_integer
from celosia.hw.operands import OperandRanges, PlainMemories
from celosia.hw.post.config import RequantizerConfig
from celosia.hw.post.limbs import partial_products
from celosia.hw.post.parameters import MULTIPLIER_WIDTH, ParameterLayout

MAX_ACCUMULATOR_WIDTH = 48  # bits: the widest accumulator the requantizer takes
MAX_LOOKUP_TABLES = 256
DEFAULT_TAPS = 3  # the width of most kernels
LANE_K = 32  # smallest K with which the default number of requantizer lanes keeps up with the array


def _signed_width(low: int, high: int) -> int:
    """Return the bits of the narrowest two's complement number that holds `low`..`high`."""
    return max((-low - 1).bit_length(), high.bit_length()) + 1


@dataclass(frozen=True, kw_only=True)
class SystolicConfig(OperandRanges, PlainMemories):
    """Choices for a weight-stationary systolic engine.

    The array multiplies a tile of `rows` × `cols` weights by one activation vector of `rows` lanes per cycle.

    Parameters
    ----------
    rows : int
        PEs along K, 1 to 64; also the activation lanes.
    cols : int
        PEs along N, 1 to 64; also the accumulators' columns.
    activation_width : int
        Bits of an activation, 2 to 16.
    activation_signed : bool
        Whether activations are two's complement.
    weight_width : int
        Bits of a weight, 2 to 16; weights are always signed.
    max_k : int
        Largest K, in rows of the GEMM, whose worst case the accumulator must hold: 1 to 2**20. The default is the
        largest that makes int8 × int8 accumulators 32 bits wide, and fills a 16-bit field.
    accumulator_width : int or None
        Bits of an accumulator. None derives it: the exact worst case of `max_k` products plus one bit for the bias, at
        most 48. A given width may be less than the worst case of `max_k`, but not less than that of one column.
    accumulator_rows : int
        Accumulators per column, a power of two from 2 to 65536: the most activation vectors in one pass over a tile.
    taps : int or None
        Rows of the array that can take activations from above, one channel to a column, for depthwise convolutions and
        pooling: so many neighbours of a line are multiplied in a cycle. 0 for none; else up to `rows`, and `cols` must
        not be less than `rows`. None takes 3 where it can be, else 0.
    lookup_tables : int
        Tables that turn an activation into a summand, two for each addition of tensors: 0 to 256. Each lane has a copy.
        `cols` must not be less than `rows`.
    post_lanes : int or None
        Requantizer lanes; a divisor of gcd(rows, cols). The array finishes rows · cols / K sums per cycle, and each
        lane costs DSP blocks: None takes the largest divisor that is not more than layers of K = 32 keep busy.

    Raises
    ------
    ValueError
        A value is out of its range, or `max_k` products cannot be held by 48 bits.
    """

    CAUSES: ClassVar[tuple[str, ...]] = (
        "compute",
        "window",
        "weights_load",
        "weights_wait",
        "output_wait",
        "hazard",
        "drain",
    )
    """Where the engine's cycles go: computing; reading neighbours that a window needs before its sum; waiting for
    weights that are being shifted in, or that have not arrived; for room in the accumulators; for an accumulator to be
    written before it is read; for the layer's last results."""

    rows: int
    cols: int
    activation_width: int = 8
    activation_signed: bool = True
    weight_width: int = 8
    max_k: int = 65535
    accumulator_width: int | None = None
    accumulator_rows: int = 512
    taps: int | None = None
    lookup_tables: int = 0
    post_lanes: int | None = None

    def __post_init__(self) -> None:
        check_integer("rows", self.rows, 1, 64)
        check_integer("cols", self.cols, 1, 64)
        check_integer("activation_width", self.activation_width, 2, 16)
        check_integer("weight_width", self.weight_width, 2, 16)
        check_integer("max_k", self.max_k, 1, 2**20)
        check_integer("accumulator_rows", self.accumulator_rows, 2, 65536)
        if not isinstance(self.activation_signed, bool):
            raise ValueError(f"activation_signed={self.activation_signed!r} must be True or False.")
        if self.accumulator_rows & (self.accumulator_rows - 1):
            raise ValueError(f"accumulator_rows={self.accumulator_rows} must be a power of two.")
        self._check_accumulator()
        self._check_columns()
        self._check_lanes()

    def _check_accumulator(self) -> None:
        needed = self.sum_width(self.max_k)
        if self.accumulator_width is not None:
            check_integer("accumulator_width", self.accumulator_width, self.column_width, MAX_ACCUMULATOR_WIDTH)
        elif needed > MAX_ACCUMULATOR_WIDTH:
            raise ValueError(
                f"max_k={self.max_k} needs {needed}-bit accumulators; lower it, or give an accumulator_width "
                f"of at most {MAX_ACCUMULATOR_WIDTH}."
            )

    def _check_columns(self) -> None:
        """Check what needs a column below each lane."""
        if self.taps is not None:
            check_integer("taps", self.taps, 0, self.rows)
        check_integer("lookup_tables", self.lookup_tables, 0, MAX_LOOKUP_TABLES)
        for name, value in (("taps", self.taps), ("lookup_tables", self.lookup_tables)):
            if value and self.cols < self.rows:
                raise ValueError(
                    f"{name}={value} needs a column for each of the {self.rows} rows, but cols={self.cols}; "
                    f"set {name} to 0 or make cols as large as rows."
                )

    def _check_lanes(self) -> None:
        if self.post_lanes is not None:
            why = f"whole words of {self.cols} columns and {self.rows} activations fill"
            check_common_divisor("post_lanes", self.post_lanes, {"rows": self.rows, "cols": self.cols}, why)

    @property
    def pe_count(self) -> int:
        """Processing elements, which is also MACs per cycle."""
        return self.rows * self.cols

    @cached_property
    def product_range(self) -> tuple[int, int]:
        """Smallest and largest product of an activation and a weight."""
        corners = [a * w for a in self.activation_range for w in self.weight_range]
        return min(corners), max(corners)

    def sum_width(self, products: int) -> int:
        """Return the bits of the narrowest signed number that holds any sum of that many products."""
        low, high = self.product_range
        return _signed_width(low * products, high * products)

    @property
    def product_width(self) -> int:
        """Bits of one product, signed."""
        return self.sum_width(1)

    def psum_width(self, row: int) -> int:
        """Return the bits of a partial sum of `row` + 1 products: psum_width(0) is one product's width."""
        return self.sum_width(row + 1)

    @property
    def column_width(self) -> int:
        """Bits of the sum that leaves a column of `rows` PEs, signed."""
        return self.sum_width(self.rows)

    @cached_property
    def resolved_accumulator_width(self) -> int:
        """Bits of an accumulator, signed: as given, else derived from `max_k`."""
        if self.accumulator_width is not None:
            return self.accumulator_width
        # A column may be wider than max_k products, when max_k is less than the rows.
        return min(max(self.sum_width(self.max_k), self.column_width) + 1, MAX_ACCUMULATOR_WIDTH)

    @cached_property
    def resolved_post_lanes(self) -> int:
        """Requantizer lanes: as given, else the largest divisor of gcd(rows, cols) that layers of K = 32 keep busy."""
        if self.post_lanes is not None:
            return self.post_lanes
        shared = math.gcd(self.rows, self.cols)
        busy = max(self.pe_count // LANE_K, 1)
        return max(lanes for lanes in range(1, shared + 1) if shared % lanes == 0 and lanes <= busy)

    @cached_property
    def resolved_taps(self) -> int:
        """Rows that take activations from above: as given, else 3 where rows and columns allow it."""
        if self.taps is not None:
            return self.taps
        return DEFAULT_TAPS if DEFAULT_TAPS <= self.rows <= self.cols else 0

    @property
    def pack_width(self) -> int:
        """Bits of the field that says how many lanes of a word are packed: 0 for all, p for 2^(p - 1)."""
        return ((self.rows - 1).bit_length()).bit_length() if self.rows > 1 else 1

    @property
    def table_address_width(self) -> int:
        """Bits of the number of a lookup table."""
        return max(1, (self.lookup_tables - 1).bit_length())

    @property
    def multipliers(self) -> int:
        """One in each PE, and those of each requantizer lane."""
        of_lane = len(partial_products(self.resolved_accumulator_width + 1, MULTIPLIER_WIDTH))
        return self.pe_count + self.resolved_post_lanes * of_lane

    @property
    def scratchpads(self) -> tuple[tuple[int, int, int], ...]:
        """Each column's accumulators twice: for the sum that goes on, and for the drain."""
        return ((2 * self.cols, self.resolved_accumulator_width, self.accumulator_rows),)

    def own_memories(self, weight_depth: int) -> tuple[tuple[str, int, int, int], ...]:
        """Lookup tables, if any: in a word, an entry for each lane, which are all equal."""
        if not self.lookup_tables:
            return ()
        width = self.rows * self.resolved_accumulator_width
        return (("tables", width, self.lookup_tables << self.activation_width, self.rows),)

    @property
    def activation_word_width(self) -> int:
        """Bits of one activation vector: `rows` activations, row 0 in the least significant bits."""
        return self.rows * self.activation_width

    @property
    def weight_word_width(self) -> int:
        """Bits of one row of weights: `cols` weights, column 0 in the least significant bits."""
        return self.cols * self.weight_width

    @property
    def accumulator_word_width(self) -> int:
        """Bits of one accumulator of every column."""
        return self.cols * self.resolved_accumulator_width

    @property
    def array_latency(self) -> int:
        """Cycles from a wave's entry into the array to its sum at column 0's output; column c is c cycles later."""
        return self.rows + 4

    @property
    def requantizer(self) -> RequantizerConfig:
        """Config of one requantizer lane."""
        return RequantizerConfig(
            accumulator_width=self.resolved_accumulator_width,
            output_width=self.activation_width,
            output_signed=self.activation_signed,
        )

    @cached_property
    def parameter_layout(self) -> ParameterLayout:
        """Layout of a word of per-channel parameters, one channel per requantizer lane."""
        return ParameterLayout(accumulator_width=self.resolved_accumulator_width, lanes=self.resolved_post_lanes)

    @property
    def parameter_word_width(self) -> int:
        """Bits of one word of per-channel parameters."""
        return self.parameter_layout.word_width

    @property
    def write_lanes(self) -> int:
        """Groups of requantizer lanes in an activation word, written separately."""
        return self.rows // self.resolved_post_lanes
