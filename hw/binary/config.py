"""Configuration of the binary engine: what can be chosen, and every width that follows from it."""

import math
from dataclasses import dataclass
from typing import ClassVar

from celosia.hw.checks import check_common_divisor, check_integer
from celosia.hw.operands import PlainMemories

DRAIN_CYCLES = 8  # cycles that the default number of threshold lanes takes for the sums of all PEs


@dataclass(frozen=True, kw_only=True)
class BinaryConfig(PlainMemories):
    """Choices for a matrix-vector-threshold unit, folded as FINN's (Umuroglu et al. 2017, arXiv 1612.07119).

    In a cycle each of `pes` PEs counts in how many of `simd` bits of activations and weights it differ, and adds that
    to its sum. Activations of more bits come a bit plane at a time, the most significant one first, ternary weights as
    two planes; so one engine computes with every pair of 1 to `activation_width` bits × binary or ternary.

    Parameters
    ----------
    pes : int
        PEs, 1 to 256: outputs that are summed at a time.
    simd : int
        Synapses of a PE, 2 to 512: inputs that are taken at a time; also the bits of an activation word.
    activation_width : int
        Widest activation, 1 to 8 bits. With 1 a PE has no logic to double its sum.
    accumulator_width : int
        Bits of a sum, unsigned, 2 to 32. A layer of K inputs of n bits needs to hold K · (2^n − 1), with ternary
        weights twice that.
    output_width : int
        Widest output of thresholds, 1 to 8 bits; n bits take up to 2^n − 1 thresholds.
    side_width : int
        Bits of rows and columns of images and kernels, 2 to 13. Small ones make a small engine.
    loop_width : int
        Bits of vectors, folds, words of a pixel, and cycles of a drain, 4 to 16; likewise.
    post_lanes : int or None
        Sums that are held against thresholds at a time, a divisor of gcd(pes, simd). None takes the least that takes
        no more than DRAIN_CYCLES cycles for the sums of all PEs, or else the greatest there is.

    Raises
    ------
    ValueError
        A value is out of its range.
    """

    CAUSES: ClassVar[tuple[str, ...]] = ("compute", "fill", "weights_wait", "output_wait", "drain")
    """Where the engine's cycles go: computing; finding a layer's first window; waiting for streamed weights; for the
    sums before to be held against their thresholds; for a layer's last results."""

    pes: int
    simd: int
    activation_width: int = 8
    accumulator_width: int = 16
    output_width: int = 4
    side_width: int = 13
    loop_width: int = 16
    post_lanes: int | None = None

    def __post_init__(self) -> None:
        check_integer("pes", self.pes, 1, 256)
        check_integer("simd", self.simd, 2, 512)
        check_integer("activation_width", self.activation_width, 1, 8)
        check_integer("accumulator_width", self.accumulator_width, max(2, self.count_width), 32)
        check_integer("output_width", self.output_width, 1, 8)
        check_integer("side_width", self.side_width, 2, 13)
        check_integer("loop_width", self.loop_width, 4, 16)
        if self.post_lanes is not None:
            why = f"groups of channels fill whole words of {self.simd} and the sums of {self.pes} PEs are whole groups"
            check_common_divisor("post_lanes", self.post_lanes, {"pes": self.pes, "simd": self.simd}, why)

    @property
    def pe_count(self) -> int:
        """XNOR-accumulates per cycle: `pes` · `simd`."""
        return self.pes * self.simd

    @property
    def pool_width(self) -> int:
        """Bits of rows and columns of a pooling window."""
        return min(self.side_width, 8)

    @property
    def count_width(self) -> int:
        """Bits of what a PE counts in a cycle, 0 to `simd`."""
        return self.simd.bit_length()

    @property
    def resolved_post_lanes(self) -> int:
        """Sums held against thresholds at a time: as given, else the least that are fast enough."""
        if self.post_lanes is not None:
            return self.post_lanes
        shared = math.gcd(self.pes, self.simd)
        divisors = [lanes for lanes in range(1, shared + 1) if shared % lanes == 0]
        return next((lanes for lanes in divisors if self.pes <= DRAIN_CYCLES * lanes), shared)

    @property
    def groups(self) -> int:
        """Groups of `post_lanes` sums that the PEs have."""
        return self.pes // self.resolved_post_lanes

    @property
    def groups_per_word(self) -> int:
        """Groups of `post_lanes` channels in an activation word."""
        return self.simd // self.resolved_post_lanes

    @property
    def doubled_width(self) -> int:
        """Bits of twice a sum, unsigned: what thresholds are held against."""
        return self.accumulator_width + 1

    @property
    def parameter_width(self) -> int:
        """Bits of a negated threshold, or of what is added to an unthresholded sum; signed."""
        return self.doubled_width + 1

    @property
    def result_width(self) -> int:
        """Bits of a result without thresholds, signed."""
        return self.parameter_width + 1

    @property
    def result_words(self) -> int:
        """Activation words that hold a result without thresholds."""
        return -(-self.result_width // self.simd)

    @property
    def weight_word_width(self) -> int:
        """Bits of the weights of a cycle, PE 0 in the least significant ones, synapse 0 in its least significant."""
        return self.pes * self.simd

    @property
    def parameter_word_width(self) -> int:
        """Bits of a parameter for each of the `post_lanes`."""
        return self.resolved_post_lanes * self.parameter_width

    @property
    def activation_word_width(self) -> int:
        """Bits of one bit plane of `simd` activations."""
        return self.simd

    @property
    def multipliers(self) -> int:
        """None: products of signs are XNORs."""
        return 0

    @property
    def scratchpads(self) -> tuple[tuple[int, int, int], ...]:
        """None: sums are in registers."""
        return ()

    @property
    def write_lanes(self) -> int:
        """Activation words are written whole."""
        return 1
