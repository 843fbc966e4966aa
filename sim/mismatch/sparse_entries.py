"""Finds the first wrong accumulation of one output in one PE of the sparse engine."""

from dataclasses import dataclass

from celosia.hw.memory import address_width
from celosia.hw.sparse.accumulator import PRODUCT_CYCLES
from celosia.hw.sparse.timing import ENTRY_CYCLES
from celosia.sim.mismatch import sparse_columns
from celosia.sim.mismatch.replay import Span
from celosia.sim.mismatch.report import Fault, Operands
from celosia.sim.mismatch.sparse_codebook import codebook_origin
from celosia.sim.mismatch.sparse_columns import Columns, Origin
from celosia.sim.mismatch.sparse_output import Entry, Output, Piece
from celosia.sim.mismatch.sparse_times import Times
from celosia.sim.vcd import Waves

LOOKED_UP = 1  # cycles from an entry's arrival to its row and its weight
FORWARDED = PRODUCT_CYCLES + 1  # most cycles between two entries of a row that do not meet in memory
SUMMED = LOOKED_UP + PRODUCT_CYCLES  # cycles from an entry's arrival to the addition of its product
SIGNALS = (
    *("works", "passes", "address", "entry", "multiplier.a", "multiplier.b"),
    *(f"accumulators.{name}" for name in ("valid", "row", "product", "operand", "total")),
)
FORWARD = "accumulators.forward_1"  # whether the sum before is the last total; not there if nothing is ever forwarded


@dataclass(frozen=True, kw_only=True)
class Arrival:
    """An entry that arrived in a PE, and what became of it.

    Parameters
    ----------
    cycle : int
        Of its arrival.
    address : int
        Where it was read.
    code, index, activation : int
        What arrived, and what it was multiplied by.
    counts : bool
        Whether a product was added.
    row, weight, product : int
        What it was turned into.
    before, total : int
        The row's sum, before and after.
    """

    cycle: int
    address: int
    code: int
    index: int
    activation: int
    counts: bool
    row: int
    weight: int
    product: int
    before: int
    total: int


def names(pe: int) -> list[str]:
    """Return the signals that are looked at for a PE."""
    return [*sparse_columns.names(pe), *(f"engine.pe_{pe}.{name}" for name in SIGNALS)]


def optional_names(pe: int) -> list[str]:
    """Return signals that a waveform may lack."""
    return [f"engine.pe_{pe}.{FORWARD}"]


class Work:
    """What a PE does for an output in one piece, and what it should do.

    Parameters
    ----------
    piece : Piece
        The output's.
    pe : int
    times : Times
        Of the output's vector.
    span : (int, int)
        Cycles of the piece.
    waves : Waves
        From `times.start` to `times.stop`.
    """

    def __init__(self, piece: Piece, pe: int, times: Times, span: Span, waves: Waves) -> None:
        self.piece, self.pe, self.times, self.span, self.waves = piece, pe, times, span, waves
        self.output, self.engine = piece.output, piece.output.engine
        self.entries = list(piece.entries(pe))
        self.arrivals = self._arrivals()
        self.columns = Columns(piece, pe, times, span, waves)
        self.matches = self._matches()
        self.mine = [entry for entry in self.entries if entry.row == self.output.row and not entry.padding]

    def compare(self, acc: int, last: int) -> tuple[Fault | None, int, int]:
        """Follow the output's row.

        Parameters
        ----------
        acc : int
            The row's sum before this piece.
        last : int
            Cycle in which the last entry of the row arrived; 0 if none did.

        Returns
        -------
        fault : Fault or None
            The first one.
        acc, last : int
            The same behind this piece.
        """
        excess = self._excess()
        for number, entry in enumerate(self.mine):
            wanted, following = self.output.clipped(acc + entry.product), self._next(number)
            index = self.matches.get(entry.address)
            if excess < (following if index is None else index):
                break
            if index is None:
                if wanted != acc:
                    return self._missing(entry, acc, wanted), acc, last
                continue
            arrival = self.arrivals[index]
            if following < index:
                return self._late(entry, arrival, acc, wanted), acc, last
            if (arrival.total if self._is_added(arrival) else acc) != wanted:
                return self._wrong(entry, arrival, acc, wanted, last), acc, last
            acc, last = wanted, arrival.cycle
        return self._unwanted(excess, acc) if excess < len(self.arrivals) else None, acc, last

    def _is_added(self, arrival: Arrival) -> bool:
        """Tell whether something is added to the output's row."""
        return arrival.counts and arrival.row == self.output.row

    def _next(self, number: int) -> int:
        """Return the first arrival that is an entry of the row behind one; else their number."""
        indices = (self.matches.get(entry.address) for entry in self.mine[number + 1 :])
        return min((index for index in indices if index is not None), default=len(self.arrivals))

    def _excess(self) -> int:
        """Return the first arrival that changes the row's sum and should not; else their number."""
        right = {self.matches.get(entry.address) for entry in self.mine}
        changing = (
            index
            for index, arrival in enumerate(self.arrivals)
            if self._is_added(arrival) and arrival.total != arrival.before
        )
        return next((index for index in changing if index not in right), len(self.arrivals))

    def _matches(self) -> dict[int, int]:
        """Return which arrival each entry is, by its address: of several the first that is right."""
        by_address: dict[int, list[int]] = {}
        for index, arrival in enumerate(self.arrivals):
            by_address.setdefault(arrival.address, []).append(index)
        result = {}
        for entry in self.entries:
            if indices := by_address.get(entry.address):
                right = [index for index in indices if self._is_for(entry, self.arrivals[index])]
                result[entry.address] = (right or indices)[0]
        return result

    @staticmethod
    def _is_for(entry: Entry, arrival: Arrival) -> bool:
        return (arrival.activation, arrival.row) == (entry.activation, entry.row)

    def _arrivals(self) -> list[Arrival]:
        waves, name = self.waves, f"engine.pe_{self.pe}"
        return [
            self._arrival(read + ENTRY_CYCLES)
            for read in range(self.span[0], min(self.span[1], waves.stop - ENTRY_CYCLES - SUMMED - 1))
            if waves.at(f"{name}.works", read + ENTRY_CYCLES) and not waves.at(f"{name}.passes", read + ENTRY_CYCLES)
        ]

    def _arrival(self, cycle: int) -> Arrival:
        """Return what became of the entry that arrived in a cycle."""
        waves, name, signed = self.waves, f"engine.pe_{self.pe}", self.engine.activation_signed

        def at(signal: str, behind: int, *, signed: bool = False) -> int:
            return waves.at(f"{name}.{signal}", cycle + behind, signed=signed)

        entry, code_width = at("entry", 0), self.engine.code_width
        forwarded = f"{name}.{FORWARD}" in waves.values and at(FORWARD, SUMMED)
        return Arrival(
            cycle=cycle,
            address=at("address", -ENTRY_CYCLES),
            code=entry & ((1 << code_width) - 1),
            index=entry >> code_width,
            activation=at("multiplier.b", LOOKED_UP, signed=signed),
            counts=bool(at("accumulators.valid", LOOKED_UP)),
            row=at("accumulators.row", LOOKED_UP),
            weight=at("multiplier.a", LOOKED_UP, signed=True),
            product=at("accumulators.product", SUMMED, signed=True),
            before=at("accumulators.total" if forwarded else "accumulators.operand", SUMMED, signed=True),
            total=at("accumulators.total", SUMMED + 1, signed=True),
        )

    # -- entries that are not where they should be --

    def _missing(self, entry: Entry, acc: int, wanted: int) -> Fault:
        origin = self.columns.missing(entry.column, entry.address)
        quantity = "sum of an entry that never arrives,"
        operands = {**self._operands(entry), "sum before": (acc, acc)}
        return self._fault(entry, origin, quantity, wanted, None, operands)

    def _late(self, entry: Entry, arrival: Arrival, acc: int, wanted: int) -> Fault:
        origin = self.columns.late(entry.column, entry.address)
        quantity = "sum of an entry that arrives out of order,"
        operands = {**self._operands(entry, arrival), "sum before": (acc, arrival.before)}
        return self._fault(entry, origin, quantity, wanted, arrival.total, operands)

    def _unwanted(self, index: int, acc: int) -> Fault:
        """Describe an arrival that should not have been added to the row."""
        arrival = self.arrivals[index]
        entry = next((entry for entry in self.entries if entry.address == arrival.address), None)
        if entry and self.matches[entry.address] == index and (wrong := self._decoded(entry)):
            return wrong
        origin = self.columns.excess(arrival.address, int(entry is not None), arrival.cycle)
        return Fault(
            place=origin.place,
            quantity="sum with an entry that does not belong to it",
            expected=acc,
            actual=arrival.total,
            cycle=origin.cycle,
            position=self._position(self.output.row, self.piece.column_of(arrival.address, self.pe)),
            operands={
                "activation": (arrival.activation, arrival.activation),
                "weight": (arrival.weight, arrival.weight),
                "sum before": (acc, arrival.before),
                **origin.operands,
            },
        )

    # -- entries that are there --

    def _wrong(self, entry: Entry, arrival: Arrival, acc: int, wanted: int, last: int) -> Fault:
        """Describe the first thing that is wrong in an accumulation, in the order of the data path."""
        if fault := self._decoded(entry):
            return fault
        if arrival.activation != entry.activation:
            origin = self.columns.changed(entry.column, entry.address, arrival.cycle)
        elif arrival.weight != entry.weight:
            origin = codebook_origin(self.piece, self.pe, entry.code, arrival.cycle, self.times)
        elif arrival.product != entry.product:
            origin = Origin(place=f"multiplier of PE {self.pe}", cycle=arrival.cycle + SUMMED)
        elif arrival.before != acc:
            forwarded = last and arrival.cycle - last <= FORWARDED
            part = "forwarding" if forwarded else f"accumulator bank {entry.row % self.engine.group}"
            origin = Origin(place=f"{part} of PE {self.pe}", cycle=arrival.cycle + SUMMED)
        else:
            origin = Origin(place=f"adder of PE {self.pe}", cycle=arrival.cycle + SUMMED + 1)
        operands = {
            **self._operands(entry, arrival),
            "product": (entry.product, arrival.product),
            "sum before": (acc, arrival.before),
        }
        return self._fault(entry, origin, "sum", wanted, arrival.total, operands)

    def _decoded(self, entry: Entry) -> Fault | None:
        """Return what was wrong with an entry, or with one before it in its column, before it had a weight.

        Relative indices are counted on, so that an earlier entry may be to blame.
        """
        relative = self.piece.fields["relative"]
        before = [each for each in self.entries if each.column == entry.column and each.address < entry.address]
        for each in [*(before if relative else []), entry]:
            index = self.matches.get(each.address)
            if index is None:
                return self._missing(each, 0, each.product)
            arrival = self.arrivals[index]
            read, stored = (self._packed(part.code, part.index) for part in (arrival, each))
            operands = {**self._operands(each, arrival), "index": (each.index, arrival.index)}
            if read != stored:
                origin = Origin(place=f"weights memory, word {each.address}, bank {self.pe}", cycle=arrival.cycle)
                return self._fault(each, origin, "entry", stored, read, operands)
            if (arrival.row, arrival.counts) != (each.row, not each.padding):
                origin = Origin(place=f"row count of PE {self.pe}", cycle=arrival.cycle + LOOKED_UP)
                if arrival.row != each.row:
                    return self._fault(each, origin, "row", each.row, arrival.row, operands)
                values = int(not each.padding), int(arrival.counts)
                return self._fault(each, origin, "number of products to be added", *values, operands)
        return None

    def _packed(self, code: int, index: int) -> int:
        """Return an entry's bits, those that matter: no row has more than its accumulators' number."""
        index &= (1 << address_width(self.engine.accumulator_rows)) - 1
        return index << self.engine.code_width | code

    def _operands(self, entry: Entry, arrival: Arrival | None = None) -> dict[str, tuple[int, int]]:
        """Return what should have been multiplied, and what was."""
        pairs = {"activation": (entry.activation, entry.activation if arrival is None else arrival.activation)}
        if self.engine.codebook_width is not None:
            pairs["code"] = (entry.code, entry.code if arrival is None else arrival.code)
        if not entry.padding:
            pairs["weight"] = (entry.weight, entry.weight if arrival is None else arrival.weight)
        return pairs

    def _fault(
        self, entry: Entry, origin: Origin, quantity: str, expected: int, actual: int | None, operands: Operands
    ) -> Fault:
        return Fault(
            place=origin.place,
            quantity=quantity,
            expected=expected,
            actual=actual,
            cycle=origin.cycle,
            position=self._position(entry.row, entry.column),
            operands={**operands, **origin.operands},
        )

    def _position(self, row: int, column: int | None) -> dict[str, int]:
        position = {"tile": self.output.tile_index, "step": self.piece.step, "PE": self.pe, "row": row}
        if column is not None:
            position["column"] = column
            channel = self.output.input_at(column)
            if channel is not None:
                position["input"] = channel
        return position


def first_fault(output: Output, times: Times, waves: Waves) -> Fault | None:
    """Return the first wrong accumulation of an output in any of its PEs; None if all are right."""
    faults = [_fault_in(output, pe, times, waves) for pe in output.pes]
    return min((fault for fault in faults if fault), key=lambda fault: fault.cycle, default=None)


def _fault_in(output: Output, pe: int, times: Times, waves: Waves) -> Fault | None:
    spans = times.segments(output, waves)
    spans += [(times.barrier, times.barrier + 1)] * (len(output.pieces) - len(spans))  # of pieces that never began
    acc, last = 0, 0
    for piece, span in zip(output.pieces, spans, strict=True):
        fault, acc, last = Work(piece, pe, times, span, waves).compare(acc, last)
        if fault:
            return fault
    return None
