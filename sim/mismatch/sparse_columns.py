"""Finds why a column did not reach a PE of the sparse engine as it should have: memory, scanner, look-up or queue."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from celosia.hw.registry import find_engine
from celosia.hw.sparse.lookup import span_layout
from celosia.hw.sparse.scanner import Scanner
from celosia.hw.sparse.timing import COLUMNS_AHEAD
from celosia.sim.mismatch.replay import Span
from celosia.sim.mismatch.report import Operands
from celosia.sim.mismatch.sparse_output import Piece
from celosia.sim.mismatch.sparse_times import Times
from celosia.sim.vcd import Waves, integer_of

SCANNER = tuple(f"engine.scanner.{port}" for port in ("valid", "barrier", "number", "value"))
ROOM = "engine.room"
EARLIER = 256  # cycles before a vector's first broadcast in which its first columns are looked for at first


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where something went wrong on its way to a PE.

    Parameters
    ----------
    place : str
    cycle : int
    operands : mapping
        What it was made from there, expected and actual.
    """

    place: str
    cycle: int
    operands: Operands = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Push:
    """A column broadcast to a PE: when, its first entry, how many there are, its activation."""

    cycle: int
    first: int
    length: int
    value: int


@dataclass(frozen=True, kw_only=True)
class Scanned:
    """A column that the scanner sent: when, its pointer number, its activation."""

    cycle: int
    number: int
    value: int


def names(pe: int) -> list[str]:
    """Return the signals that are looked at for a PE."""
    return [*SCANNER, ROOM, f"engine.pe_{pe}.push", f"engine.pe_{pe}.queue.w_data"]


class Columns:
    """Columns of one piece on their way to one PE.

    Parameters
    ----------
    piece : Piece
    pe : int
    times : Times
    span : (int, int)
        Cycles of the piece.
    waves : Waves
        From `times.start` to `times.stop`.
    """

    def __init__(self, piece: Piece, pe: int, times: Times, span: Span, waves: Waves) -> None:
        self.piece, self.pe, self.times, self.span, self.waves = piece, pe, times, span, waves
        self.output, self.engine = piece.output, piece.output.engine
        self.pushes = self._pushes()

    def missing(self, column: int, address: int) -> Origin:
        """Return where an entry was lost, whose address the PE never read."""
        pushes = self._pushes_of(address)
        if pushes:
            return Origin(place=f"queue of PE {self.pe}", cycle=pushes[0].cycle)
        scanned, number = self._scanned(), self.piece.number(column)
        order = [each.number for each in scanned]
        if number not in order:
            later = [each.cycle for each in scanned if each.number > number]
            return self._scanner(column, min(later, default=self.span[1] - 1), None)
        return self._lookup(column, scanned, order.index(number))

    def late(self, column: int, address: int) -> Origin:
        """Return where an entry was overtaken by others of later columns."""
        scanned, number = self._scanned(), self.piece.number(column)
        order = [each.number for each in scanned]
        if number in order and max(order[: order.index(number)], default=-1) > number:
            return Origin(place="scanner", cycle=scanned[order.index(number)].cycle)
        pushes = [(push.first, push.cycle) for push in self.pushes if push.length]
        mine = min((push.cycle for push in self._pushes_of(address)), default=self.span[0])
        if any(first > address and cycle < mine for first, cycle in pushes):
            return Origin(place="column look-up", cycle=mine)
        return Origin(place=f"queue of PE {self.pe}", cycle=mine)

    def excess(self, address: int, wanted: int, cycle: int) -> Origin:
        """Return where an entry comes from, which a PE read in that cycle, though only so often as is wanted."""
        column = self.piece.column_of(address, self.pe)
        pushes = self._pushes_of(address)
        if len(pushes) <= wanted:
            return Origin(place=f"queue of PE {self.pe}", cycle=cycle)
        scanned = [] if column is None else self._scanned()
        found = [each for each in scanned if column is not None and each.number == self.piece.number(column)]
        if column is None or len(found) <= wanted:
            return Origin(place="column look-up", cycle=pushes[wanted].cycle)
        return self._scanner(column, found[wanted].cycle, found[wanted].value)

    def changed(self, column: int, address: int, cycle: int) -> Origin:
        """Return where an activation was changed that the PE had in that cycle."""
        wanted = int(self.output.lanes[column])
        pushes = self._pushes_of(address)
        if not pushes or pushes[0].value == wanted:
            return Origin(place=f"queue of PE {self.pe}", cycle=cycle)
        scanned = [each for each in self._scanned() if each.number == self.piece.number(column)]
        if not scanned or scanned[0].value == wanted:
            return Origin(place="column look-up", cycle=pushes[0].cycle)
        return self._scanner(column, scanned[0].cycle, scanned[0].value)

    # -- what happened --

    def _pushes_of(self, address: int) -> list[Push]:
        """Return the broadcasts that told the PE to read an address."""
        return [push for push in self.pushes if push.first <= address < push.first + push.length]

    def _pushes(self) -> list[Push]:
        layout, width = span_layout(self.output.run.config), self.engine.activation_width
        name, result = f"engine.pe_{self.pe}", []
        for cycle in range(*self.span):
            if self.waves.at(f"{name}.push", cycle):
                column = self.waves.at(f"{name}.queue.w_data", cycle)
                first, length = (
                    column >> field.offset & ((1 << field.width) - 1) for field in (layout["start"], layout["length"])
                )
                value = integer_of(column >> layout.size, width, signed=self.engine.activation_signed)
                result.append(Push(cycle=cycle, first=first, length=length, value=value))
        return result

    def _scanned(self) -> list[Scanned]:
        """Return what the scanner sent for the vector in this step, up to the barrier."""
        if self.output.vector == 0:
            return self._until_barrier(self.waves, range(*self.span))
        # Columns that were on their way when the first one could be broadcast left the scanner up to LATENCY later.
        start, inside = self.times.start, self.times.start + Scanner.LATENCY
        ahead, back = COLUMNS_AHEAD - self.waves.at(ROOM, start), EARLIER
        while True:
            begin = max(start - back, 1)
            waves = self.output.run.replay.record(SCANNER, (begin, max(self.span[1], inside)))
            sent = [cycle for cycle in range(begin, inside) if waves.at(SCANNER[0], cycle)]
            if len(sent) >= ahead or begin == 1:
                early = sent[len(sent) - min(ahead, len(sent)) :]
                return self._until_barrier(waves, [*early, *range(inside, self.span[1])])
            back *= 4

    def _until_barrier(self, waves: Waves, cycles: Sequence[int]) -> list[Scanned]:
        valid, barrier, number, value = SCANNER
        result = []
        for cycle in cycles:
            if waves.at(valid, cycle):
                if waves.at(barrier, cycle):
                    break
                activation = waves.at(value, cycle, signed=self.engine.activation_signed)
                result.append(Scanned(cycle=cycle, number=waves.at(number, cycle), value=activation))
        return result

    # -- who did it --

    def _scanner(self, column: int, cycle: int, actual: int | None) -> Origin:
        """Return the scanner, or the memory that it reads if the activation is wrong there, too."""
        run, pes = self.output.run, self.engine.pes
        wanted = int(self.output.lanes[column])
        address = run.source + self.output.vector * self.piece.fields["source_pitch"] + column // pes
        words = run.replay.memory_before(self.times.beat, run.source_memory, 1, address)
        lanes: np.ndarray = find_engine(run.config.engine_name).packer.unpack_activations(run.config, words, 1)
        there = int(lanes[0, column % pes])
        if there != wanted:
            place = f"{run.source_memory} memory, word {address}, lane {column % pes}"
            return Origin(place=place, cycle=cycle, operands={"activation": (wanted, there)})
        return Origin(
            place="scanner", cycle=cycle, operands={"activation": (wanted, wanted if actual is None else actual)}
        )

    def _lookup(self, column: int, scanned: list[Scanned], order: int) -> Origin:
        """Return the look-up, with what it gave the PE for a column that was scanned in that place."""
        if order >= len(self.pushes):
            return Origin(place="column look-up or broadcast", cycle=scanned[order].cycle)
        push, (first, length) = self.pushes[order], self.piece.span(column, self.pe)
        operands = {"first entry": (first, push.first), "entries": (length, push.length)}
        return Origin(place="column look-up", cycle=push.cycle, operands=operands)
