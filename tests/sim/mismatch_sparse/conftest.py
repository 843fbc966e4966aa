"""Hardware of the sparse engine broken in one place."""

import itertools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from amaranth.hdl import Array, Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out

from celosia.hw import core as core_module
from celosia.hw.buffers import InputFiller, ResultSender
from celosia.hw.pipeline import delay
from celosia.hw.sparse import accumulator as accumulator_module
from celosia.hw.sparse import engine as engine_module
from celosia.hw.sparse import pe as pe_module
from celosia.hw.sparse.accumulator import Accumulators
from celosia.hw.sparse.codebook import CodebookReader
from celosia.hw.sparse.drain import Drain
from celosia.hw.sparse.loader import WeightLoader
from celosia.hw.sparse.lookup import ColumnLookup
from celosia.hw.sparse.pe import SparsePE
from celosia.hw.sparse.scanner import Scanner
from celosia.hw.timing import READ_LATENCY


def only(cls: Any, index: int, broken: Any) -> Callable[..., Any]:
    """Return what makes `cls`, but `broken` where it is made the `index`-th time."""
    made = itertools.count()
    return lambda *args, **more: (broken if next(made) == index else cls)(*args, **more)


class Stack(wiring.Component):
    """A queue whose last column comes first."""

    w_en: Signal
    w_data: Signal
    r_en: Signal
    r_rdy: Signal
    r_data: Signal
    r_level: Signal

    def __init__(self, *, width: int, depth: int) -> None:
        self.width, self.depth = width, depth
        super().__init__(
            {
                **{"w_en": In(1), "w_data": In(width), "r_en": In(1)},
                **{"r_rdy": Out(1), "r_data": Out(width), "r_level": Out(range(depth + 1))},
            }
        )

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002
        m = Module()
        columns = Array(Signal(self.width, name=f"column_{index}") for index in range(self.depth))
        top = Signal(range(self.depth + 1))
        m.d.comb += [top.eq(self.r_level - self.r_en), self.r_rdy.eq(self.r_level != 0)]
        m.d.comb += self.r_data.eq(columns[self.r_level - 1])
        m.d.sync += self.r_level.eq(top + self.w_en)
        with m.If(self.w_en):
            m.d.sync += columns[top].eq(self.w_data)
        return m


class Negates(SparsePE):
    """A PE that takes its products away."""

    def elaborate(self, platform: object) -> Module:
        m = super().elaborate(platform)
        m.d.comb += m.submodules.accumulators.product.eq(-m.submodules.multiplier.product)
        return m


class LosesPushes(SparsePE):
    """A PE whose queue loses every fifth column."""

    def elaborate(self, platform: object) -> Module:
        m = super().elaborate(platform)
        count = Signal(range(5))
        with m.If(self.push):
            m.d.sync += count.eq(Mux(count == 4, 0, count + 1))
        with m.If(count == 4):
            m.d.comb += m.submodules.queue.w_en.eq(0)
        return m


class MissesRows(SparsePE):
    """A PE that takes relative indices for absolute ones."""

    def _compute(self, m: Module, valid: Any, first: Any, value: Any) -> None:
        super()._compute(m, valid, first | 1, value)


class OwnCodebook(SparsePE):
    """A PE with a wrong word in its codebook."""

    def _weight(self, m: Module, code: Any) -> Any:
        return (super()._weight(m, code) ^ Mux(code == 3, 4, 0)).as_signed()


class WritesOtherBank(Accumulators):
    """Accumulators whose last bank is never written, but for being cleared."""

    def elaborate(self, platform: object) -> Module:
        m = super().elaborate(platform)
        bank = getattr(m.submodules, f"bank_{self.banks - 1}")
        m.d.comb += bank.write.enable.eq(self.clear[-1])
        return m


class NeverClears(Accumulators):
    """Accumulators that keep every second row of bank 0 when it was read."""

    def elaborate(self, platform: object) -> Module:
        m = super().elaborate(platform)
        with m.If(self.clear[0] & self.clear_address[0] & ~self.valid):
            m.d.comb += m.submodules.bank_0.write.enable.eq(0)
        return m


class LosesABit(Accumulators):
    """Accumulators whose totals have a bit stuck at 0."""

    def _add(self, m: Module, rows: list[Any], valids: list[Any], total: Signal) -> None:
        super()._add(m, rows, valids, total)
        m.d.sync += total[3].eq(0)


class ShiftsMore(Drain):
    """A drain whose lane 1 shifts too far."""

    def _finish(self, m: Module, layer: Any, lane: int, merged: Any, biases: Any) -> Signal:
        if lane == 1:
            layer = SimpleNamespace(**{**vars(layer), "shift": (layer.shift + 1)[:6]})
        return super()._finish(m, layer, lane, merged, biases)


class ClampsEarly(Drain):
    """A drain whose lane 1 has half of the highest activation."""

    def _finish(self, m: Module, layer: Any, lane: int, merged: Any, biases: Any) -> Signal:
        if lane == 1:
            layer = SimpleNamespace(**{**vars(layer), "maximum": layer.maximum >> 1})
        return super()._finish(m, layer, lane, merged, biases)


class ForgetsBias(Drain):
    """A drain whose lane 0 has no bias."""

    def _finish(self, m: Module, layer: Any, lane: int, merged: Any, biases: Any) -> Signal:
        return super()._finish(m, layer, lane, merged, biases if lane else Const(0, len(biases)))


class MergesHalf(Drain):
    """A drain that forgets one of the PEs 0 and 1."""

    def _sum(self, m: Module, one: Any, other: Any, name: str) -> Signal:
        return super()._sum(m, one, Const(0) if name.startswith("sum_0_0") else other, name)


class LatchesShift(Drain):
    """A drain that remembers a wrong shift."""

    def _merge(self, m: Module, layer: Any, bank: Any) -> list[Any]:
        with m.If(self.start):
            m.d.sync += layer.shift.eq(self.layer.shift + 1)
        return super()._merge(m, layer, bank)


class ReadsElsewhere(Drain):
    """A drain that reads odd rows only."""

    def elaborate(self, platform: object) -> Module:
        m = super().elaborate(platform)
        m.d.comb += self.read_address[0].eq(1)
        return m


class WritesElsewhere(Drain):
    """A drain that misses odd words."""

    def elaborate(self, platform: object) -> Module:
        m = super().elaborate(platform)
        m.d.comb += self.write.address[0].eq(0)
        return m


class Misreads(Scanner):
    """A scanner to which activation words come changed."""

    def change(self, m: Module, word: Any) -> Any:  # noqa: ARG002
        raise AssertionError("each kind overrides this")

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002
        m = Module()
        m.submodules.inner = inner = Scanner(self.config)
        wiring.connect(m, wiring.flipped(self), inner)
        m.d.comb += inner.source.data.eq(self.change(m, self.source.data))
        return m


class SkipsLane(Misreads):
    """The last lane is taken for 0."""

    def change(self, m: Module, word: Any) -> Any:  # noqa: ARG002
        return word[: -self.engine.activation_width]


class SkipsLater(Misreads):
    """The last lane of the fourth vector is taken for 0."""

    def change(self, m: Module, word: Any) -> Any:
        begin, end = Signal(16), Signal(16)
        with m.If(self.start):
            m.d.sync += begin.eq(self.layer.source + 3 * self.layer.source_pitch)
            m.d.sync += end.eq(self.layer.source + 4 * self.layer.source_pitch)
        address = delay(m, self.source.address, READ_LATENCY, "read")
        return Mux((address >= begin) & (address < end), word[: -self.engine.activation_width], word)


class ScansWrongly(Misreads):
    """A bit of lane 0 is stuck at 0."""

    def change(self, m: Module, word: Any) -> Any:  # noqa: ARG002
        return word & ~2


class Spans(ColumnLookup):
    """A look-up that gives the last PE one entry too few or too many."""

    def change(self, length: Any) -> Any:  # noqa: ARG002
        raise AssertionError("each kind overrides this")

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002
        m = Module()
        m.submodules.inner = inner = ColumnLookup(self.config)
        wiring.connect(m, wiring.flipped(self), inner)
        last = self.engine.pes - 1
        m.d.comb += self.head_spans[last].length.eq(self.change(inner.head_spans[last].length))
        return m


class ShortSpans(Spans):
    def change(self, length: Any) -> Any:
        return Mux(length > 1, length - 1, length)


class LongSpans(Spans):
    def change(self, length: Any) -> Any:
        return Mux(length != 0, length + 1, length)


class ReadsWrongCodebook(CodebookReader):
    """A reader that gives the PEs a wrong word."""

    def elaborate(self, platform: object) -> Module:
        m = super().elaborate(platform)
        m.d.comb += self.weight.eq(Mux(self.code == 3, self.memory.data + 3, self.memory.data))
        return m


class LoadsWrongly(WeightLoader):
    """A loader with a bit of PE 0's codes stuck at 0."""

    def elaborate(self, platform: object) -> Module:
        m = super().elaborate(platform)
        m.d.comb += self.write.data[1].eq(0)
        return m


class FillsWrongly(InputFiller):
    """A filler with a bit of lane 0 stuck at 0."""

    def elaborate(self, platform: object) -> Module:
        m = super().elaborate(platform)
        m.d.comb += self.write.data[1].eq(0)
        return m


class SendsWrongly(ResultSender):
    """A sender of results with a bit of lane 0 stuck at 0."""

    def elaborate(self, platform: object) -> Module:
        m = super().elaborate(platform)
        m.d.comb += self.o.payload[1].eq(0)
        return m


def break_pe(monkeypatch: pytest.MonkeyPatch, pe: int, broken: type) -> None:
    monkeypatch.setattr(engine_module, "SparsePE", only(SparsePE, pe, broken))


def break_accumulators(monkeypatch: pytest.MonkeyPatch, pe: int, broken: type) -> None:
    monkeypatch.setattr(pe_module, "Accumulators", only(Accumulators, pe, broken))


def break_part(monkeypatch: pytest.MonkeyPatch, broken: type) -> None:
    part = next(base.__name__ for base in broken.__mro__ if hasattr(engine_module, base.__name__))
    monkeypatch.setattr(engine_module, part, broken)


def drop_register(monkeypatch: pytest.MonkeyPatch, dropped: str) -> None:
    """Have 0 in place of one of the accumulators' delayed signals."""

    def forgetful(m: Module, value: Any, cycles: int, name: str, **more: bool) -> Any:
        return Const(0) if name == dropped else delay(m, value, cycles, name, **more)

    monkeypatch.setattr(accumulator_module, "delay", forgetful)


FAULTS: dict[str, tuple[Callable[[pytest.MonkeyPatch, int], None], str]] = {
    "sign": (lambda patch, pe: break_pe(patch, pe, Negates), "multiplier of PE {pe}"),
    "forward": (lambda patch, _: drop_register(patch, "forward"), "forwarding of PE"),
    "second forward": (lambda patch, _: drop_register(patch, "same_2"), "forwarding of PE"),
    "adder": (lambda patch, pe: break_accumulators(patch, pe, LosesABit), "adder of PE {pe}"),
    "push": (lambda patch, pe: break_pe(patch, pe, LosesPushes), "queue of PE {pe}"),
    "row": (lambda patch, pe: break_pe(patch, pe, MissesRows), "row count of PE {pe}"),
    "codebook": (lambda patch, pe: break_pe(patch, pe, OwnCodebook), "codebook of PE {pe}"),
    "codebook reader": (lambda patch, _: break_part(patch, ReadsWrongCodebook), "codebook reader"),
    "bank": (lambda patch, pe: break_accumulators(patch, pe, WritesOtherBank), "accumulator bank"),
    "clear": (lambda patch, pe: break_accumulators(patch, pe, NeverClears), "accumulator bank 0 of PE {pe}"),
    "later lane": (lambda patch, _: break_part(patch, SkipsLater), "scanner"),
    "lane": (lambda patch, _: break_part(patch, SkipsLane), "scanner"),
    "scan": (lambda patch, _: break_part(patch, ScansWrongly), "scanner"),
    "short span": (lambda patch, _: break_part(patch, ShortSpans), "column look-up"),
    "long span": (lambda patch, _: break_part(patch, LongSpans), "column look-up"),
    "loader": (lambda patch, _: break_part(patch, LoadsWrongly), "weights memory"),
    "inputs": (lambda patch, _: patch.setattr(core_module, "InputFiller", FillsWrongly), "inputs memory"),
    "merge": (lambda patch, _: break_part(patch, MergesHalf), "merge of PEs"),
    "bias": (lambda patch, _: break_part(patch, ForgetsBias), "bias adder of lane 0"),
    "shift": (lambda patch, _: break_part(patch, ShiftsMore), "shifter of lane 1"),
    "step": (lambda patch, _: break_part(patch, LatchesShift), "shift of the step"),
    "clamp": (lambda patch, _: break_part(patch, ClampsEarly), "clamp of lane 1"),
    "row read": (lambda patch, _: break_part(patch, ReadsElsewhere), "drain"),
    "word": (lambda patch, _: break_part(patch, WritesElsewhere), "drain"),
    "results": (lambda patch, _: patch.setattr(core_module, "ResultSender", SendsWrongly), "stream of results"),
}
"""What breaks a part, given a PE, and the place that has to be named."""


def reverse_queue(monkeypatch: pytest.MonkeyPatch, pe: int) -> None:
    """Have the columns of a PE's queue come in the wrong order, which shows only where sums saturate."""
    monkeypatch.setattr(pe_module, "SyncFIFO", only(SyncFIFO, pe, Stack))


@pytest.fixture(scope="session")
def faults() -> SimpleNamespace:
    return SimpleNamespace(all=FAULTS, reverse_queue=reverse_queue)
