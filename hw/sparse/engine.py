"""The sparse engine: loader, scanner, column look-up, PEs and drain."""

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib.wiring import connect, flipped

from celosia.hw.config import AcceleratorConfig
from celosia.hw.engine import EngineComponent
from celosia.hw.memory import addresses_of
from celosia.hw.pipeline import latch
from celosia.hw.sparse.codebook import CodebookReader
from celosia.hw.sparse.config import SparseConfig
from celosia.hw.sparse.drain import Drain
from celosia.hw.sparse.loader import WeightLoader
from celosia.hw.sparse.lookup import ColumnLookup
from celosia.hw.sparse.pe import SparsePE
from celosia.hw.sparse.scanner import Scanner
from celosia.hw.sparse.timing import COLUMNS_AHEAD, ENTRY_CYCLES


class SparseEngine(EngineComponent):
    """Pruned layers on PEs that each hold the entries of some rows; ports as `engine_signature` says.

    Activations that are not zero are found and their columns looked up ahead; a column is broadcast to the PEs that
    have entries of it as long as no queue is full. The barrier behind a vector's last column waits until all PEs are
    idle, and has the sums drained. The loader may run a step ahead. After a reset the accumulators are cleared.
    """

    pointers: Any
    codebooks: Any

    def __init__(self, config: AcceleratorConfig) -> None:
        assert isinstance(config.engine, SparseConfig)
        self.engine = config.engine
        super().__init__(config)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.loader = self._loader = WeightLoader(self.config)
        m.submodules.scanner = self._scanner = Scanner(self.config)
        m.submodules.lookup = self._lookup = ColumnLookup(self.config)
        m.submodules.codebook = self._codebook = CodebookReader(self.config)
        m.submodules.drain = self._drain = Drain(self.config)
        self._pes = [SparsePE(self.config) for _ in range(self.engine.pes)]
        for index, pe in enumerate(self._pes):
            m.submodules[f"pe_{index}"] = pe

        self._layer = latch(
            m,
            self.layer_take,
            self.layer,
            *("source_is_activations", "rows", "encoded", "codebook", "relative", "keep_empty", "queue_limit"),
        )
        self._loading = Signal()  # the step's weights are being loaded
        self._blocked = Signal()  # weights or codes were not there yet a cycle ago
        self._push = Signal()
        self._barrier = Signal()
        self._take_layers(m)
        self._load(m)
        self._broadcast(m)
        self._connect_pes(m)
        self._connect_memories(m)
        self._explain(m)
        return m

    def _take_layers(self, m: Module) -> None:
        finished = Signal()  # a step that leaves its sums
        m.d.sync += finished.eq(self._barrier & (self._layer.rows == 0))
        m.d.comb += [
            self.layer_take.eq(self.layer_valid & self.layer_ready & ~self.active & self.ready),
            self.done.eq(self._drain.done | finished),
            *(part.layer.eq(self.layer) for part in (self._scanner, self._drain)),
            *(part.start.eq(self.layer_take) for part in (self._scanner, self._drain)),
        ]
        with m.If(self.layer_take):
            m.d.sync += self.active.eq(1)
        with m.Elif(self.done):
            m.d.sync += self.active.eq(0)

    def _load(self, m: Module) -> None:
        """Load streamed weights, ahead if the step allows it, then the codebook."""
        loader, codebook, layer = self._loader, self._codebook, self.layer
        ahead = Signal()  # the step that is offered is being loaded
        awaited = Signal()  # the codebook waits for the load, which reads the same memory
        loading = Signal()  # the step at work is not known to be loaded
        m.d.comb += [
            loader.start.eq(
                self.layer_valid & (layer.load_words != 0) & ~ahead & loader.idle & (layer.load_ahead | self.layer_take)
            ),
            loader.address.eq(layer.weights),
            loader.words.eq(layer.load_words),
            loader.rows.eq(layer.load_rows),
            loader.encoded.eq(layer.encoded),
            loader.tables.eq(layer.tables),
            self._loading.eq(loading & ~loader.idle),
            codebook.start.eq(Mux(self.layer_take, ~layer.encoded, awaited & ~self._loading)),
            codebook.base.eq(Mux(self.layer_take, layer.codebook, self._layer.codebook)),
            self.corrupt.eq(loader.corrupt),
        ]
        m.d.sync += self._blocked.eq(self._loading | awaited | ~codebook.ready)
        with m.If(self.layer_take):
            m.d.sync += [ahead.eq(0), awaited.eq(layer.encoded), loading.eq(loader.start | ~loader.idle)]
        with m.Else():
            with m.If(loader.idle):
                m.d.sync += loading.eq(0)
            with m.If(loader.start):
                m.d.sync += ahead.eq(1)
            with m.If(codebook.start):
                m.d.sync += awaited.eq(0)

    def _broadcast(self, m: Module) -> None:
        """Give columns to the PEs while no queue is full, and have a vector drained behind its last column."""
        scanner, lookup, drain = self._scanner, self._lookup, self._drain
        room = Signal(range(COLUMNS_AHEAD + 1), init=COLUMNS_AHEAD)
        self._full = Cat(pe.full for pe in self._pes).any()
        idle = Cat(pe.idle for pe in self._pes).all()
        column = lookup.head_valid & ~lookup.head_barrier & ~self._blocked
        m.d.comb += [
            scanner.allow.eq(room != 0),
            lookup.valid.eq(scanner.valid),
            lookup.barrier.eq(scanner.barrier),
            lookup.number.eq(scanner.number),
            lookup.value.eq(scanner.value),
            self._push.eq(column & ~self._full),
            self._barrier.eq(lookup.head_valid & lookup.head_barrier & ~self._blocked & idle & ~drain.busy),
            drain.begin.eq(self._barrier & (self._layer.rows != 0)),
            lookup.pop.eq(self._push | Mux(self._layer.rows == 0, self._barrier, drain.last)),
        ]
        m.d.sync += room.eq(room - scanner.found + lookup.pop)

    def _connect_pes(self, m: Module) -> None:
        lookup, codebook, drain, layer = self._lookup, self._codebook, self._drain, self._layer
        rows = self.engine.bank_rows
        cleared = Signal(range(rows + 1))
        saturated = Signal()
        clearing = ~self.ready
        m.d.comb += self.ready.eq(cleared == rows)
        with m.If(clearing):
            m.d.sync += cleared.eq(cleared + 1)
        addresses = addresses_of(self.weights)
        for index, pe in enumerate(self._pes):
            m.d.comb += [
                pe.push.eq(self._push),
                pe.span.eq(lookup.head_spans[index]),
                pe.value.eq(lookup.head_value),
                pe.limit.eq(layer.queue_limit),
                pe.keep_empty.eq(layer.keep_empty),
                pe.relative.eq(layer.relative),
                addresses[index].eq(pe.address),
                pe.entry.eq(self.weights.data.word_select(index, self.engine.entry_width)),
                pe.code_enable.eq(codebook.enable),
                pe.code_address.eq(codebook.code),
                pe.code_weight.eq(codebook.weight),
                pe.reading.eq(drain.reading),
                pe.read_address.eq(drain.read_address),
                pe.clear.eq(drain.clear | clearing.replicate(self.engine.group)),
                pe.clear_address.eq(Mux(clearing, cleared, drain.clear_address)),
                drain.sums[index].eq(pe.sums),
            ]
        m.d.sync += saturated.eq(Cat(pe.saturated for pe in self._pes).any())
        with m.If(self.start):
            m.d.sync += self.saturated.eq(0)
        with m.Elif(saturated):
            m.d.sync += self.saturated.eq(1)

    def _connect_memories(self, m: Module) -> None:
        loader, scanner, drain = self._loader, self._scanner, self._drain
        connect(m, flipped(self.i_weights), loader.i)
        connect(m, drain.write, flipped(self.write))
        connect(m, drain.parameters, flipped(self.parameters))
        connect(m, scanner.source, flipped(self.source))
        connect(m, self._lookup.pointers, flipped(self.pointers))
        m.d.comb += [
            self.source_is_activations.eq(self._layer.source_is_activations),
            self.write_outputs.eq(drain.write_outputs),
            self.codebooks.address.eq(
                Mux(self._layer.encoded & self._loading, loader.codebooks.address, self._codebook.memory.address)
            ),
            loader.codebooks.data.eq(self.codebooks.data),
            self._codebook.memory.data.eq(self.codebooks.data),
            self.weights_write.enable.eq(loader.write.enable),
            self.weights_write.address.eq(loader.write.address),
            self.weights_write.data.eq(loader.write.data),
        ]

    def _explain(self, m: Module) -> None:
        """Name the one cause of this cycle: what the PEs do now, and why, as it was when their entries were read."""
        lookup, drain = self._lookup, self._drain
        code = {name: index for index, name in enumerate(self.engine.CAUSES)}
        begun = Signal()  # a column of this step has been broadcast
        with m.If(self.layer_take):
            m.d.sync += begun.eq(0)
        with m.Elif(self._push):
            m.d.sync += begun.eq(1)
        now = Signal(range(len(code)))
        with m.If(~self.active):
            m.d.comb += now.eq(code["fill"])
        with m.Elif(self._barrier | drain.busy | drain.writing):
            m.d.comb += now.eq(code["drain"])
        with m.Elif(lookup.head_valid & self._blocked):
            m.d.comb += now.eq(code["weights_wait"])
        with m.Elif(~begun & ~lookup.head_valid):
            m.d.comb += now.eq(code["fill"])
        with m.Elif(lookup.head_valid & ~lookup.head_barrier & self._full):
            m.d.comb += now.eq(code["queue_full"])
        with m.Else():
            m.d.comb += now.eq(code["starved"])
        told: Any = now
        for cycle in range(1, ENTRY_CYCLES + 1):
            register = Signal.like(now, name=f"cause_{cycle}", init=code["fill"])
            m.d.sync += register.eq(Mux(self.layer_take, code["fill"], told))
            told = register

        columns = (told == code["queue_full"]) | (told == code["starved"])
        all_work = Cat(pe.works for pe in self._pes).all()
        with m.If(~columns | ~all_work):
            m.d.comb += self.cause.eq(told)
        with m.Elif(Cat(pe.pads for pe in self._pes).any()):
            m.d.comb += self.cause.eq(code["padding"])
        with m.Elif(Cat(pe.passes for pe in self._pes).any()):
            m.d.comb += self.cause.eq(code["empty_column"])
        with m.Else():
            m.d.comb += self.cause.eq(code["compute"])
        m.d.comb += self.progress.eq(
            Cat(self._push, drain.busy, self._loader.progress, ~self.ready, *(pe.works for pe in self._pes)).any()
        )
