"""The first mismatch of the sparse engine is named: hardware is broken in one place, which the report must name."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from amaranth.hdl import Array, Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out

from celosia.host.compile import compile_network
from celosia.host.models.compressed import CompressedDense
from celosia.host.models.ir import Network
from celosia.host.pack.sparse_layers import EIE, SparseOptions
from celosia.host.program import Program
from celosia.hw import core as core_module
from celosia.hw.buffers import InputFiller, ResultSender
from celosia.hw.config import AcceleratorConfig
from celosia.hw.pipeline import delay
from celosia.hw.sparse import accumulator as accumulator_module
from celosia.hw.sparse import engine as engine_module
from celosia.hw.sparse import pe as pe_module
from celosia.hw.sparse.accumulator import Accumulators
from celosia.hw.sparse.codebook import CodebookReader
from celosia.hw.sparse.config import SparseConfig
from celosia.hw.sparse.drain import Drain
from celosia.hw.sparse.loader import WeightLoader
from celosia.hw.sparse.lookup import ColumnLookup
from celosia.hw.sparse.pe import SparsePE
from celosia.hw.sparse.scanner import Scanner
from celosia.hw.timing import READ_LATENCY
from celosia.sim.core import Stalls
from celosia.sim.golden.sparse import run_layer
from celosia.sim.mismatch import Mismatch, find_mismatch
from celosia.sim.vcd import read_waves

ENGINE = SparseConfig(
    pes=2,
    group=2,
    queue_depth=2,
    index_width=4,
    codebook_width=3,
    weight_width=6,
    activation_width=8,
    accumulator_width=24,
    accumulator_rows=16,
    pointer_depth=64,
    codebook_depth=32,
)
DEPTHS = {"parameter_depth": 64, "input_depth": 128, "activation_depth": 128, "output_depth": 128}
CONFIG = AcceleratorConfig(engine=ENGINE, weight_depth=192, watchdog_cycles=4096, **DEPTHS)
SEED = 7
STALLS = Stalls(inputs=0.3, weights=0.5, results=0.2, seed=SEED)
SIZES = (14, 11, 9)


def network(engine: SparseConfig = ENGINE, sizes: tuple[int, ...] = SIZES) -> Network:
    """Layers none of whose outputs is clamped often."""
    rng = np.random.default_rng(SEED)
    low, high = engine.weight_range
    minimum, maximum = engine.activation_range
    dtype = f"{'' if engine.activation_signed else 'u'}int{engine.activation_width}"
    layers = []
    for index, (K, N) in enumerate(itertools.pairwise(sizes)):
        mask = rng.random((K, N)) < 0.5
        codebook = None
        if engine.codebook_width is None:
            codes = np.where(mask, rng.integers(low, high + 1, (K, N)), 0).astype(np.int16)
        else:
            codebook = np.append(0, rng.integers(low // 2, high + 1, (1 << engine.codebook_width) - 1))
            codes = np.where(mask, rng.integers(1, len(codebook), (K, N)), 0).astype(np.uint8)
        layers.append(
            CompressedDense(
                name=f"layer {index}",
                codes=codes,
                codebook=codebook,
                bias=rng.integers(-500, 500, N),
                shift=engine.weight_width + 1,
                minimum=minimum,
                maximum=maximum,
                input_dtype=dtype,
                output_dtype=dtype,
            )
        )
    return Network(name="random", layers=layers, input_shape=(sizes[0],))


def inputs(count: int, engine: SparseConfig = ENGINE, channels: int = SIZES[0]) -> np.ndarray:
    rng = np.random.default_rng(SEED + 1)
    low, high = engine.activation_range
    shape = count, channels
    return np.where(rng.random(shape) < 0.8, rng.integers(low, high + 1, shape), 0)


def resident() -> tuple[Program, np.ndarray]:
    """A program of two iterations of several vectors, its weights resident; and its inputs."""
    program = compile_network(network(), CONFIG, batch=3)
    assert program.vectors == 3
    assert program.weight_stream is None
    return program, inputs(5)


def streamed() -> tuple[Program, np.ndarray]:
    """A program whose layers are cut into several steps each, with streamed weights; and its inputs."""
    program = compile_network(network(), replace(CONFIG, weight_depth=40), batch=3)
    assert program.weight_stream is not None
    assert all(len(plan.steps) > 1 for plan in program.layers)
    return program, inputs(3)


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


def find(program: Program, x: np.ndarray, waves: Path | None = None) -> Mismatch:
    """Find the mismatch of a run that streams and stalls, and check it."""
    found = find_mismatch(program, x, stream=True, stalls=STALLS, waves=waves)
    assert found is not None
    check(found, program, x)
    return found


def check(found: Mismatch, program: Program, x: np.ndarray) -> None:
    """Check what is said of the output, and of the places in the layer."""
    plan = program.layers[found.layer]
    assert found.layer_name == plan.name
    assert found.iteration == found.vector // program.vectors
    for before in program.layers[: found.layer]:
        x = run_layer(before.arranged, x, program.config.engine)
    assert found.expected == run_layer(plan.arranged, x, program.config.engine)[found.vector, found.channel]
    assert found.expected != found.actual
    check_position(found, program)
    if "column" in found.fault.position and found.fault.quantity in ("sum", "sum of an entry that never arrives,"):
        check_sum(found, program, x)


def check_position(found: Mismatch, program: Program) -> None:
    position, plan, pes = found.fault.position, program.layers[found.layer], program.config.engine.pe_count
    if not position:
        return
    tile, step = plan.arranged.tiles[position["tile"]], plan.steps[position["step"]]
    number = list(tile.outputs).index(found.channel)
    if "column" in position:
        assert position["PE"] // tile.schedule.group == tile.schedule.row_group[number]
        assert plan.arranged.input_positions[position["input"]] == position["column"]
        begin = (step.fields["source"] - plan.steps[0].fields["source"]) * pes
        assert begin <= position["column"] < begin + step.fields["source_words"] * pes
    else:
        word, lane = divmod(int(plan.arranged.output_positions[found.channel]), pes)
        assert (position["word"], position["lane"]) == (word - tile.first_word, lane)
        assert position["row"] == tile.schedule.row_slot[number]
        assert step.fields["rows"] > position["word"]


def check_sum(found: Mismatch, program: Program, x: np.ndarray) -> None:
    """Check the sums and operands against the tile's entries, which no step has cut."""
    fault, arranged = found.fault, program.layers[found.layer].arranged
    pe, row, last = (fault.position[name] for name in ("PE", "row", "column"))
    entries, layer = arranged.tiles[fault.position["tile"]].entries, arranged.layer
    activations = np.zeros(len(entries.pointers) - 1, dtype=np.int64)
    activations[arranged.input_positions] = x[found.vector]
    engine = program.config.engine
    assert isinstance(engine, SparseConfig)
    limit = 1 << (engine.accumulator_width - 1)
    acc = before = 0
    for column in range(last + 1):
        before = acc
        for place in range(entries.pointers[column, pe], entries.pointers[column + 1, pe]):
            if entries.rows[place, pe] == row:
                code = int(entries.codes[place, pe])
                acc += int(activations[column]) * (code if layer.codebook is None else int(layer.codebook[code]))
                acc = min(max(acc, -limit), limit - 1)
    assert fault.expected == acc
    assert fault.operands["sum before"][0] == before
    activation, weight = (fault.operands[name][0] for name in ("activation", "weight"))
    assert activation == activations[last]
    assert weight == layer.weights[fault.position["input"], found.channel]
    assert acc == min(max(before + activation * weight, -limit), limit - 1)
    if "code" in fault.operands:
        assert layer.codebook[fault.operands["code"][0]] == weight


def differing(found: Mismatch) -> set[str]:
    """Return the operands that are not as expected."""
    return {name for name, (wanted, seen) in found.fault.operands.items() if wanted != seen}


def test_healthy() -> None:
    for program, x in (resident(), streamed()):
        assert find_mismatch(program, x, stream=True, stalls=STALLS) is None


def test_sign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A PE's products are wrong; the report is the same each time, and the waveform shows what it says."""
    break_pe(monkeypatch, 1, Negates)
    program, x = streamed()
    found = find(program, x, waves=tmp_path / "window.vcd")
    fault = found.fault
    assert (fault.place, fault.quantity, fault.position["PE"]) == ("multiplier of PE 1", "sum", 1)
    assert differing(found) == {"product"}
    assert fault.operands["product"][0] == -fault.operands["product"][1]
    assert found.waves is not None
    total = "engine.pe_1.accumulators.total"
    waves = read_waves(found.waves, [total], start=found.window[0], top="core")
    assert (waves.start, waves.stop) == found.window
    assert fault.actual == waves.at(total, fault.cycle + 1, signed=True)
    text = str(found)
    for part in ("step", "PE 1", "row", "column", f"cycle {fault.cycle}", "activation", "code", "weight", "sum before"):
        assert part in text
    break_pe(monkeypatch, 1, Negates)
    assert find(program, x) == replace(found, waves=None, window=(0, 0))


def test_dropped_forward(monkeypatch: pytest.MonkeyPatch) -> None:
    drop_register(monkeypatch, "forward")
    found = find(*resident())
    assert found.fault.place == f"forwarding of PE {found.fault.position['PE']}"
    assert differing(found) == {"sum before"}


def test_lost_push(monkeypatch: pytest.MonkeyPatch) -> None:
    break_pe(monkeypatch, 1, LosesPushes)
    found = find(*streamed())
    assert (found.fault.place, found.fault.actual) == ("queue of PE 1", None)
    assert "never arrives" in str(found)


def test_wrong_bank(monkeypatch: pytest.MonkeyPatch) -> None:
    break_accumulators(monkeypatch, 1, WritesOtherBank)
    found = find(*resident())
    assert found.fault.place == "accumulator bank 1 of PE 1"
    assert found.fault.position["row"] % 2 == 1


def test_skipped_lane(monkeypatch: pytest.MonkeyPatch) -> None:
    break_part(monkeypatch, SkipsLane)
    found = find(*resident())
    assert (found.fault.place, found.fault.actual) == ("scanner", None)
    assert found.fault.position["column"] % 2 == 1


def test_skipped_lane_of_a_later_vector(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was scanned while the vectors before it were at work."""
    break_part(monkeypatch, SkipsLater)
    program = compile_network(network(), CONFIG, batch=6)
    x = inputs(6)
    x[np.arange(6), :-2] *= np.arange(12) == np.arange(6)[:, None]  # an activation or two of each vector
    found = find(program, x)
    assert (found.fault.place, found.fault.actual, found.vector) == ("scanner", None, 3)
    assert found.fault.position["column"] % 2 == 1


def test_wrong_codebook_word(monkeypatch: pytest.MonkeyPatch) -> None:
    break_part(monkeypatch, ReadsWrongCodebook)
    found = find(*streamed())
    assert found.fault.place == "codebook reader"
    assert found.fault.operands["code"] == (3, 3)
    wanted, seen = found.fault.operands["weight"]
    assert (seen - wanted) % 64 == 3


def test_wrong_shift(monkeypatch: pytest.MonkeyPatch) -> None:
    break_part(monkeypatch, ShiftsMore)
    found = find(*resident())
    assert found.fault.place == "shifter of lane 1"
    assert found.fault.position["lane"] == 1
    assert found.fault.actual == found.fault.expected >> 1
    assert differing(found) == set()


def test_wrong_merge(monkeypatch: pytest.MonkeyPatch) -> None:
    break_part(monkeypatch, MergesHalf)
    found = find(*streamed())
    assert found.fault.place.startswith("merge of PEs 0 to 1")
    sums = [found.fault.operands[f"sum of PE {pe}"][0] for pe in (0, 1)]
    assert (found.fault.expected, found.fault.actual) == (sum(sums), sums[0])


ENGINES = {
    "8 PEs in fours": SparseConfig(
        pes=8,
        queue_depth=8,
        group=4,
        index_width=4,
        activation_width=8,
        weight_width=8,
        accumulator_rows=16,
        decoders=2,
    ),
    "3 PEs, no codebook, unsigned": SparseConfig(
        pes=3, queue_depth=2, index_width=2, codebook_width=None, weight_width=9, activation_signed=False
    ),
    "1 PE": SparseConfig(pes=1, queue_depth=1, index_width=2, codebook_width=4),
    "4 PEs, small": SparseConfig(pes=4, group=2, queue_depth=3, index_width=12, accumulator_rows=2),
    "3 PEs, saturating": SparseConfig(pes=3, index_width=4, accumulator_width=24, accumulator_rows=16),
}
SHAPES = {
    "8 PEs in fours, Huffman-coded": ("8 PEs in fours", 512, SparseOptions(encode=True)),
    "8 PEs in pairs, Huffman-coded stream": ("8 PEs in fours", 28, SparseOptions(encode=True, group=2)),
    "3 PEs, no codebook, unsigned": ("3 PEs, no codebook, unsigned", 512, SparseOptions()),
    "1 PE, streamed": ("1 PE", 200, SparseOptions()),
    "4 PEs, EIE": ("4 PEs, small", 512, replace(EIE, queue_limit=3)),
    "3 PEs, saturating": ("3 PEs, saturating", 512, SparseOptions()),
    "4 PEs, tiles": ("4 PEs, small", 512, SparseOptions()),
}
"""Engine, weight words, and what the packer is told."""

PARTS: dict[str, tuple[Callable[[pytest.MonkeyPatch, int], None], str]] = {
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
"""What breaks a part, and the place that has to be named."""


@pytest.mark.slow
def test_out_of_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where sums saturate, their order counts."""
    monkeypatch.setattr(pe_module, "SyncFIFO", only(SyncFIFO, 1, Stack))
    engine = ENGINES["3 PEs, saturating"]
    config = AcceleratorConfig(engine=engine, weight_depth=512, watchdog_cycles=4096, **DEPTHS)
    found = find(compile_network(network(engine), config, batch=2), inputs(2, engine))
    assert found.fault.place == "queue of PE 1"
    assert "out of order" in found.fault.quantity


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
def test_shapes(shape: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts are found in engines of every shape, unless a fault does not show there; every other one in each."""
    name, weight_depth, options = SHAPES[shape]
    engine, sizes = ENGINES[name], (23, 18, 15)
    config = AcceleratorConfig(engine=engine, weight_depth=weight_depth, watchdog_cycles=4096, **DEPTHS)
    program = compile_network(network(engine, sizes), config, batch=5, options=options)
    x = inputs(5, engine, sizes[0])
    x[0] = 0  # so that faults are found behind the first vector
    assert find_mismatch(program, x, stream=True, stalls=STALLS) is None
    named = []
    for part in list(PARTS)[list(SHAPES).index(shape) % 2 :: 2]:
        break_it, place = PARTS[part]
        with monkeypatch.context() as patch:
            break_it(patch, engine.pes - 1)
            found = find_mismatch(program, x, stream=True, stalls=STALLS)
        if found:
            check(found, program, x)
            assert found.fault.place.startswith(place.format(pe=engine.pes - 1)), f"{part}: {found}"
            named.append(part)
    assert len(named) >= 6, named
