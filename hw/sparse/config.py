"""Configuration of the sparse engine: what can be chosen, and every width that follows from it."""

from dataclasses import dataclass
from typing import ClassVar

from celosia.hw.checks import check_integer
from celosia.hw.operands import OperandRanges

GROUPS = (1, 2, 4, 8)
MAX_CODE_LENGTH = 10  # bits of the longest Huffman code


@dataclass(frozen=True, kw_only=True)
class SparseConfig(OperandRanges):
    """Choices for a sparse engine.

    Each of `pes` processing elements holds the non-zero weights of some rows of the weight matrix, column after column,
    as entries: a code and an index that says which row. Non-zero activations are broadcast one by one; every PE with
    entries in that column multiplies and accumulates one of them per cycle.

    Parameters
    ----------
    pes : int
        Processing elements, 1 to 256; also the activation lanes of a word.
    queue_depth : int
        Columns that may wait in front of each PE, 1 to 64.
    index_width : int
        Bits of an entry's index, 2 to 12. A layer counts in it either the zeros before the entry or the entry's row.
    codebook_width : int or None
        Bits of an entry's code, 2 to 8, which a codebook turns into a weight. None: the entry holds the weight itself.
    weight_width : int
        Bits of a weight, signed, 4 to 16.
    activation_width : int
        Bits of an activation, 8 or 16.
    activation_signed : bool
        Whether activations are two's complement.
    accumulator_width : int
        Bits of an accumulator, 24 to 48. Sums saturate, and a sticky flag says so.
    accumulator_rows : int
        Accumulators of a PE, a power of two from `group` to 4096: the most rows it holds of one layer.
    group : int
        Largest number of PEs that may share the same rows, 1, 2, 4 or 8; a divisor of `pes`. A layer takes as many or
        fewer; their sums are merged as results are read. Accumulators are in that many banks.
    pointer_depth : int
        Column pointers of a PE: each layer takes one per input and one more.
    codebook_depth : int
        Words of 16 bits that hold codebooks and Huffman tables.
    decoders : int
        Huffman decoders in the load path, a divisor of `pes`, each with 32 bits of a weight word or more; 0: none.

    Raises
    ------
    ValueError
        A value is out of its range.
    """

    CAUSES: ClassVar[tuple[str, ...]] = (
        "compute",
        "padding",
        "empty_column",
        "queue_full",
        "starved",
        "fill",
        "weights_wait",
        "drain",
    )
    """Where the engine's cycles go. While columns are worked on: every PE multiplies a weight (compute) or some of them
    padding; some PE passes over an empty column; some PE has nothing to do, because another one's queue is full, or
    because no column is there. Else: no column has reached a PE yet (fill); weights or a codebook are being loaded;
    sums are being merged, rounded and written (drain)."""

    pes: int
    queue_depth: int = 16
    index_width: int = 6
    codebook_width: int | None = 4
    weight_width: int = 16
    activation_width: int = 16
    activation_signed: bool = True
    accumulator_width: int = 40
    accumulator_rows: int = 64
    group: int = 1
    pointer_depth: int = 1024
    codebook_depth: int = 512
    decoders: int = 0

    def __post_init__(self) -> None:
        for name, low, high in (
            ("pes", 1, 256),
            ("queue_depth", 1, 64),
            ("index_width", 2, 12),
            ("weight_width", 4, 16),
            ("accumulator_width", 24, 48),
            ("pointer_depth", 2, 1 << 20),
            ("codebook_depth", 4, 1 << 16),
            ("decoders", 0, self.pes),
        ):
            check_integer(name, getattr(self, name), low, high)
        if self.codebook_width is not None:
            check_integer("codebook_width", self.codebook_width, 2, 8)
        self._check_choice("activation_width", (8, 16))
        self._check_choice("group", GROUPS)
        if not isinstance(self.activation_signed, bool):
            raise ValueError(f"activation_signed={self.activation_signed!r} must be True or False.")
        check_integer("accumulator_rows", self.accumulator_rows, self.group, 4096)
        if self.accumulator_rows & (self.accumulator_rows - 1):
            raise ValueError(f"accumulator_rows={self.accumulator_rows} must be a power of two.")
        if self.pes % self.group:
            raise ValueError(f"group={self.group} must divide pes={self.pes}.")
        self._check_decoders()

    def _check_choice(self, name: str, choices: tuple[int, ...]) -> None:
        value = getattr(self, name)
        if isinstance(value, bool) or value not in choices:
            raise ValueError(f"{name}={value!r} must be one of {', '.join(map(str, choices))}.")

    def _check_decoders(self) -> None:
        if self.decoders == 0:
            return
        if self.code_width > 8 or self.index_width > 8:
            raise ValueError(
                "decoders need codes and indices of at most 8 bits; set decoders=0, or make them narrower."
            )
        if self.pes % self.decoders:
            raise ValueError(f"decoders={self.decoders} must divide pes={self.pes}.")
        if self.decoders > 1 and self.weight_word_width // self.decoders < 32:
            raise ValueError(
                f"decoders={self.decoders} leaves {self.weight_word_width // self.decoders} bits of a weight word to "
                "each; it must leave 32 or more."
            )

    @property
    def pe_count(self) -> int:
        """Processing elements, which is also MACs per cycle."""
        return self.pes

    @property
    def code_width(self) -> int:
        """Bits of an entry's code, or of its weight where there is no codebook."""
        return self.weight_width if self.codebook_width is None else self.codebook_width

    @property
    def entry_width(self) -> int:
        """Bits of an entry: its code in the least significant ones, then its index."""
        return self.code_width + self.index_width

    @property
    def weight_word_width(self) -> int:
        """Bits of one entry of every PE, PE 0 in the least significant bits."""
        return self.pes * self.entry_width

    @property
    def parameter_word_width(self) -> int:
        """Bits of one bias for every PE."""
        return self.pes * self.bias_width

    @property
    def bias_width(self) -> int:
        """Bits of a bias, signed, in units of the accumulator."""
        return self.accumulator_width

    @property
    def activation_word_width(self) -> int:
        """Bits of an activation of every PE."""
        return self.pes * self.activation_width

    @property
    def write_lanes(self) -> int:
        """Activation words are written whole."""
        return 1

    @property
    def bank_rows(self) -> int:
        """Accumulators in each of the `group` banks of a PE."""
        return self.accumulator_rows // self.group

    @property
    def weight_banks(self) -> int:
        """Each PE reads its own entries."""
        return self.pes

    @property
    def reset_cycles(self) -> int:
        """The accumulators are cleared, a row of every bank per cycle."""
        return self.bank_rows + 1

    @property
    def multipliers(self) -> int:
        """One in each PE."""
        return self.pes

    @property
    def scratchpads(self) -> tuple[tuple[int, int, int], ...]:
        """The banks of each PE's accumulators, and the symbols of each decoder."""
        symbols = ((self.decoders, 16, self.symbol_words),) if self.decoders else ()
        return ((self.pes * self.group, self.accumulator_width, self.bank_rows), *symbols)

    @property
    def symbol_words(self) -> int:
        """Words of a decoder's symbols, two to a word: all codes, and all indices."""
        return ((1 << self.code_width) + (1 << self.index_width)) // 2

    def own_memories(self, weight_depth: int) -> tuple[tuple[str, int, int, int], ...]:
        """Column pointers, of an even column and of the odd one after it in a word; and codebooks."""
        pointer = self.pes * weight_depth.bit_length()
        return (("pointers", 2 * pointer, -(-self.pointer_depth // 2), 2), ("codebooks", 16, self.codebook_depth, 1))
