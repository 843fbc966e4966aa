"""Bench of a sparse PE: random columns with gaps between them, against its docstring: every port, and all sums."""

import random
from collections import deque

import cocotb
import numpy as np
from bench_tools import beat, reset, settings, start_clock, within
from cocotb.triggers import FallingEdge

from celosia.host.pack.entries import Entries, make_entries
from celosia.hw.config import AcceleratorConfig
from celosia.hw.sparse.config import SparseConfig
from celosia.hw.sparse.timing import ENTRY_CYCLES, FLUSH_CYCLES
from celosia.hw.timing import READ_LATENCY

LAYERS = 12
COLUMNS = 30  # different ones
PUSHES = 150
PATIENCE = 5000  # cycles


class Model:
    """A PE in the words of its docstring, and the memory that it reads."""

    def __init__(self, engine: SparseConfig) -> None:
        self.engine = engine
        self.sums = [0] * engine.accumulator_rows
        self.saturations = 0
        self.idle()

    def idle(self) -> None:
        """Have nothing to do, as after a reset."""
        self.queue: deque[tuple[int, int, int]] = deque()
        self.left, self.address = 0, 0
        self.reading: tuple[str, int] = ("nothing", 0)  # what is read in this cycle, and its activation
        self.arriving = deque([("nothing", 0, 0)] * (ENTRY_CYCLES + 1))  # this cycle first: what, address, value
        self.row = -1

    def begin(self, codebook: list[int], entries: Entries, relative: int, keep_empty: int, limit: int) -> None:
        """Take what a layer has."""
        self.codebook, self.relative, self.keep_empty, self.limit = codebook, relative, keep_empty, limit
        self.codes, self.indices = entries.codes[:, 0].tolist(), entries.indices[:, 0].tolist()

    def entry(self) -> int:
        """Return the entry that arrives in this cycle."""
        place = self.arriving[0][1]
        return self.codes[place] | self.indices[place] << self.engine.code_width if place < len(self.codes) else 0

    def outputs(self) -> dict[str, int]:
        """Return the ports in this cycle."""
        what, place, _ = self.arriving[0]
        return {
            "full": len(self.queue) >= self.limit,
            "idle": not self.queue and not self.left,
            "works": what in ("first", "entry", "empty"),
            "passes": what == "empty",
            "pads": what in ("first", "entry") and self.relative and self.codes[place] == 0,
        }

    def edge(self, pushed: tuple[int, int, int] | None) -> None:
        """Go to the next cycle."""
        self._add(*self.arriving.popleft())
        taken = self.queue.popleft() if self.queue and self.left <= 1 else None
        if pushed and (pushed[1] or self.keep_empty):
            self.queue.append(pushed)
        if taken:
            self.address, length, value = taken
            self.left, self.reading = max(length, 1), ("first" if length else "empty", value)
        elif self.left:
            self.address, self.left, self.reading = self.address + 1, self.left - 1, ("entry", self.reading[1])
        what, value = self.reading if self.left else ("nothing", 0)
        self.arriving.append((what, self.address, value))

    def _add(self, what: str, place: int, value: int) -> None:
        if what not in ("first", "entry"):
            return
        before = self.row if self.relative and what == "entry" else -1
        self.row = before + 1 + self.indices[place] if self.relative else self.indices[place]
        if self.relative and self.codes[place] == 0:
            return
        limit = 1 << (self.engine.accumulator_width - 1)
        total = self.sums[self.row] + value * self.codebook[self.codes[place]]
        self.sums[self.row] = min(max(total, -limit), limit - 1)
        self.saturations += self.sums[self.row] != total


class Bench:
    """Drives a PE and its model side by side."""

    def __init__(self, dut, config: AcceleratorConfig, rng: random.Random) -> None:
        assert isinstance(config.engine, SparseConfig)
        self.dut, self.config, self.engine, self.rng = dut, config, config.engine, rng
        self.model = Model(config.engine)
        self.saturations = 0
        self.about = f"seed {cocotb.RANDOM_SEED}"

    def set(self, **values: int) -> None:
        """Set inputs; negative ones in two's complement."""
        for name, value in values.items():
            port = getattr(self.dut, name)
            port.value = value & ((1 << len(port)) - 1)

    async def cycle(self, pushed: tuple[int, int, int] | None = None) -> None:
        """Do a cycle, with a column that is pushed or without, and compare all ports in it."""
        start, length, value = pushed or (0, 0, 0)
        start_width = self.config.weight_depth.bit_length()
        some = int(length != 0) << start_width + self.config.engine.accumulator_rows.bit_length()
        span = start | length << start_width | some
        self.set(push=int(pushed is not None), span=span, value=value, entry=self.model.entry())
        await FallingEdge(self.dut.clk)
        for name, wanted in self.model.outputs().items():
            seen = int(getattr(self.dut, name).value)
            assert seen == wanted, f"{self.about}: {name} is {seen}, not {int(wanted)}"
        self.saturations += int(self.dut.saturated.value)
        self.model.edge(pushed)
        await beat(self.dut)
        if self.model.left:
            assert int(self.dut.address.value) == self.model.address, self.about

    async def begin(self, codebook: list[int], entries: Entries, relative: int, keep_empty: int, limit: int) -> None:
        """Give the PE what a layer has: codes while nothing is read."""
        self.model.begin(codebook, entries, relative, keep_empty, limit)
        self.set(relative=relative, keep_empty=keep_empty, limit=limit)
        for code, weight in enumerate(codebook):
            self.set(code_enable=1, code_address=code, code_weight=weight)
            await self.cycle()
        self.set(code_enable=0)

    async def drain(self) -> None:
        """Wait for the last column, then read and clear all sums as early as that is allowed."""
        for _ in range(PATIENCE):
            if int(self.dut.idle.value):
                break
            await self.cycle()
        for _ in range(FLUSH_CYCLES):
            await self.cycle()
        assert self.saturations == self.model.saturations, self.about
        banks, width = self.engine.group, self.engine.accumulator_width
        read = []
        for address in range(self.engine.bank_rows + READ_LATENCY - 1):
            self.set(reading=int(address < self.engine.bank_rows), read_address=min(address, self.engine.bank_rows - 1))
            cleared = 0 < address <= self.engine.bank_rows  # in the cycle after the read
            self.set(clear=(1 << banks) - 1 if cleared else 0, clear_address=max(address - 1, 0) if cleared else 0)
            await self.cycle()
            if address >= READ_LATENCY - 1:  # the outputs are looked at after the edge that ends a cycle
                sums = int(self.dut.sums.value)
                read += [sums >> (width * bank) & ((1 << width) - 1) for bank in range(banks)]
        self.set(reading=0, clear=0)
        wanted = [total & ((1 << width) - 1) for total in self.model.sums]
        assert read == wanted, f"{self.about}: {read}, not {wanted}"
        self.model.sums = [0] * len(wanted)


def draw_entries(rng: random.Random, engine: SparseConfig, relative: int) -> Entries:
    """Draw columns of one PE: some empty, some with a few of the same rows, some full."""
    # Absolute indices tell so many rows apart.
    shape = COLUMNS, engine.accumulator_rows if relative else min(engine.accumulator_rows, 1 << engine.index_width)
    numbers = np.random.default_rng(rng.getrandbits(64))
    shares = numbers.choice([0, 0.05, 0.2, 0.7], (COLUMNS, 1))
    columns, rows = np.nonzero(numbers.random(shape) < shares * (numbers.random(shape[1]) < rng.choice((0.2, 1))))
    codes = numbers.integers(1, 1 << engine.code_width, len(rows))
    width = engine.index_width if relative else 0
    return make_entries(columns, rows, np.zeros_like(rows), codes, column_count=COLUMNS, pes=1, relative_width=width)


@cocotb.test(timeout_time=10, timeout_unit="ms")
async def columns(dut):
    given = settings()
    config = AcceleratorConfig(**{**given, "engine": SparseConfig(**given["engine"])})
    engine = config.engine
    rng = random.Random(cocotb.RANDOM_SEED)
    low, high = engine.activation_range
    bench = Bench(dut, config, rng)
    bench.set(push=0, code_enable=0, reading=0, clear=0, limit=1, relative=0, keep_empty=0, entry=0)
    start_clock(dut)
    await reset(dut)
    for address in range(engine.bank_rows):
        bench.set(clear=(1 << engine.group) - 1, clear_address=address)
        await beat(dut)
    bench.set(clear=0)
    for layer in range(LAYERS):
        relative = layer % 2
        entries = draw_entries(rng, engine, relative)
        codebook = [within(rng, engine.weight_range) for _ in range(1 << engine.code_width)]
        await bench.begin(codebook, entries, relative, int(rng.random() < 0.3), rng.randint(1, engine.queue_depth))
        gaps, active = rng.choice((0, 0.3, 0.8)), (low, high) if layer % 4 < 2 else (max(low, -99), 99)
        pushed = 0
        while pushed < PUSHES:
            column = rng.randrange(COLUMNS)
            begin, end = entries.pointers[column : column + 2, 0].tolist()
            push = not int(dut.full.value) and rng.random() >= gaps
            await bench.cycle((begin, end - begin, within(rng, active)) if push else None)
            pushed += push
        await bench.drain()
    assert bench.saturations > 0, bench.about
