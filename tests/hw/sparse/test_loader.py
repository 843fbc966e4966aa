"""The weight loader under Verilator: what it writes, in how many cycles, and what broken streams do to it."""

from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from amaranth.hdl import Cat, Module, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from celosia.host.pack.encode import encode_tile, symbol_lengths
from celosia.hw.config import AcceleratorConfig
from celosia.hw.lanes import pack_lanes, unpack_lanes
from celosia.hw.memory import Scratchpad
from celosia.hw.sparse.config import SparseConfig
from celosia.hw.sparse.loader import WeightLoader
from celosia.hw.sparse.tables import EncodedFormat
from celosia.sim.cycles.load import Load, load_raw
from celosia.sim.cycles.model import Source
from celosia.sim.cycles.sparse_load import load_encoded
from celosia.sim.rtl import Model, Simulator, StopReason, build, gate_pattern, stall_threshold

DEPTH = 200  # memory words
GATES = 1 << 17  # cycles
LOADS = 3  # behind each other
TABLES = 300  # words of the codebook memory for each of them
PORTS = ("address", "words", "encoded", "rows", "tables")
CONFIGS = {
    "1 PE, raw": SparseConfig(pes=1),
    "5 PEs, raw": SparseConfig(pes=5, index_width=11, codebook_width=None, weight_width=9),
    "1 PE, 4-bit chunks": SparseConfig(pes=1, codebook_width=2, index_width=2, decoders=1),
    "2 PEs, 14-bit chunks": SparseConfig(pes=2, codebook_width=4, index_width=3, decoders=1),
    "2 PEs, 28-bit chunks": SparseConfig(pes=2, codebook_width=8, index_width=6, decoders=1),
    "3 PEs, 30-bit chunks": SparseConfig(pes=3, decoders=1),
    "7 PEs": SparseConfig(pes=7, decoders=1),
    "16 PEs, 8-bit symbols": SparseConfig(pes=16, codebook_width=8, index_width=8, decoders=1),
    "10 PEs, 2 decoders": SparseConfig(pes=10, decoders=2),
    "6 PEs, 2 decoders, no codebook": SparseConfig(
        pes=6, codebook_width=None, weight_width=5, index_width=7, decoders=2
    ),
    "12 PEs, 4 decoders": SparseConfig(pes=12, codebook_width=4, index_width=8, decoders=4),
    "20 PEs, 4 decoders": SparseConfig(pes=20, codebook_width=8, index_width=8, decoders=4),
}
ENCODED = [name for name, engine in CONFIGS.items() if engine.decoders]


class Bench(wiring.Component):
    """A loader with a codebook memory; its writes are a stream, and the cycles in which it wants a word are counted."""

    def __init__(self, config: AcceleratorConfig) -> None:
        self.loader = WeightLoader(config)
        self.config = config
        ports = self.loader.signature.members
        write = self.loader.write
        outputs = (write.enable, write.address, write.data)
        super().__init__(
            {
                **{name: ports[name] for name in ("start", *PORTS, "i", "idle", "busy", "corrupt", "progress")},
                "i_tables": In(stream.Signature(16)),
                "o_writes": Out(stream.Signature(sum(len(_value(port)) for port in outputs))),
                "starved": Out(32),
                "wrong": Out(32),
                "corrupts": Out(32),
            }
        )

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002
        m = Module()
        m.submodules.loader = loader = self.loader
        m.submodules.memory = memory = Scratchpad(width=16, depth=self.config.memory("codebooks").depth)
        connect(m, flipped(self.i), loader.i)
        m.d.comb += [
            *(getattr(loader, name).eq(getattr(self, name)) for name in ("start", *PORTS)),
            *(getattr(self, name).eq(getattr(loader, name)) for name in ("idle", "busy", "corrupt", "progress")),
            memory.reads[0].address.eq(loader.codebooks.address),
            loader.codebooks.data.eq(memory.reads[0].data),
            self.i_tables.ready.eq(1),
            memory.write.enable.eq(self.i_tables.valid),
            memory.write.data.eq(self.i_tables.payload),
            self.o_writes.valid.eq(loader.write.enable.any()),
            self.o_writes.payload.eq(Cat(loader.write.enable, _value(loader.write.address), loader.write.data)),
        ]
        with m.If(self.i_tables.valid):
            m.d.sync += memory.write.address.eq(memory.write.address + 1)
        m.d.sync += [
            self.starved.eq(self.starved + loader.wants),
            self.wrong.eq(self.wrong + (loader.wants != (self.busy & ~self.progress)) + (self.idle == self.busy)),
            self.corrupts.eq(self.corrupts + self.corrupt),
        ]
        return m


def _value(port: Any) -> Value:
    return Value.cast(port)


@cache
def config(name: str) -> AcceleratorConfig:
    return AcceleratorConfig(engine=replace(CONFIGS[name], codebook_depth=LOADS * TABLES), weight_depth=DEPTH)


@cache
def model(name: str) -> Model:
    return build(Bench(config(name)), name="loader_bench")


@dataclass
class Job:
    """A load: entries (rows, pes), where to write them, and what the stream holds."""

    entries: np.ndarray
    address: int
    words: np.ndarray
    encoded: bool
    tables: np.ndarray
    base: int  # of the tables

    @property
    def rows(self) -> int:
        return len(self.entries)


def draw_entries(engine: SparseConfig, rng: np.random.Generator, rows: int) -> np.ndarray:
    """Symbols of all sorts of distributions, some of them with a single symbol, some that make the longest codes."""

    def draw(width: int) -> np.ndarray:
        size, kind = 1 << width, rng.integers(5)
        if kind == 0:
            values = rng.integers(0, size, (rows, engine.pes))
        elif kind == 1:
            values = np.minimum(rng.geometric(0.4, (rows, engine.pes)) - 1, size - 1)
        elif kind == 2:
            values = np.minimum(rng.geometric(0.05, (rows, engine.pes)) - 1, size - 1)
        elif kind == 3:
            values = rng.choice(rng.integers(0, size, 3), (rows, engine.pes))
        else:
            values = np.full((rows, engine.pes), rng.integers(size))
        return rng.permutation(size)[values]

    return draw(engine.code_width) | draw(engine.index_width) << engine.code_width


def draw_job(engine: SparseConfig, rng: np.random.Generator, encoded: bool, number: int) -> Job:
    rows = int(rng.choice([0, 1, 2, 3, 10, 40, DEPTH]))
    entries = draw_entries(engine, rng, rows)
    address = int(rng.integers(0, DEPTH - rows + 1)) % DEPTH
    if not encoded:
        words = pack_lanes(np.resize(entries, (rows or 1, engine.pes)), engine.entry_width)[:rows]
        return Job(entries, address, words, False, np.zeros(0, np.uint16), 0)
    words, tables = encode_tile(entries, engine)
    more = int(rng.integers(0, 5) * rng.integers(0, 2)) * EncodedFormat(engine).unit_chunks
    noise = rng.integers(0, 1 << 32, (more, words.shape[1])).astype(np.uint32)
    base = TABLES * number + int(rng.integers(0, TABLES - len(tables) + 1))
    return Job(entries, address, np.concatenate([words, noise]), True, tables, base)


def put_tables(sim: Simulator, memory: np.ndarray) -> None:
    """Fill the codebook memory, whose write address is at 0."""
    sim.send("i_tables", memory)
    assert sim.run(len(memory) + 1, until="sent") is StopReason.SENT


def start(sim: Simulator, job: Job) -> None:
    numbers = (job.address, len(job.words), int(job.encoded), job.rows, job.base)
    for name, number in zip(PORTS, numbers, strict=True):
        sim.set(name, number)
    sim.set("start", 1)
    sim.run(1)
    for name, number in zip(PORTS, numbers, strict=True):
        sim.set(name, 0 if number else 1)  # it has taken them
    sim.set("start", 0)


def take_writes(sim: Simulator, engine: SparseConfig) -> list[tuple[int, int, int]]:
    """Return bank, address and entry of each write since the last call."""
    pes, width, address_width = engine.pes, engine.entry_width, (DEPTH - 1).bit_length()
    payloads = np.ascontiguousarray(sim.receive("o_writes").astype("<u4")).view(np.uint8)
    bits = np.unpackbits(payloads, axis=1, bitorder="little").astype(np.int64)
    enables = bits[:, :pes]
    addresses = bits[:, pes : pes + pes * address_width].reshape(-1, pes, address_width) << np.arange(address_width)
    values = bits[:, pes + pes * address_width :][:, : pes * width].reshape(-1, pes, width) << np.arange(width)
    cycles, banks = np.nonzero(enables)
    addresses, values = addresses.sum(axis=2)[cycles, banks], values.sum(axis=2)[cycles, banks]
    return list(zip(banks.tolist(), addresses.tolist(), values.tolist(), strict=True))


def check_writes(writes: list[tuple[int, int, int]], job: Job, where: str) -> None:
    """Every entry was written once, where it belongs, and nothing else."""
    expected = {
        (bank, job.address + row): int(job.entries[row, bank])
        for row in range(job.rows)
        for bank in range(job.entries.shape[1])
    }
    assert len(writes) == len(expected), where
    assert {(bank, address): value for bank, address, value in writes} == expected, where


def run_loads(name: str, seed: int) -> None:
    """Some loads of all sorts behind each other; the next starts in the first idle cycle as often as not."""
    rng = np.random.default_rng(seed)
    engine, depth = CONFIGS[name], config(name).memory("codebooks").depth
    probability = float(rng.choice([0, 0, 0.05, 0.5, 0.9, 0.99]))
    jobs = [draw_job(engine, rng, bool(engine.decoders and rng.random() < 0.75), number) for number in range(LOADS)]
    memory = rng.integers(0, 1 << 16, depth).astype(np.uint16)
    for job in jobs:
        memory[job.base : job.base + len(job.tables)] = job.tables
    with model(name).start() as sim:
        put_tables(sim, memory)
        sim.stall("i", probability, seed)
        gates = gate_pattern(seed, stall_threshold(probability), GATES) & (np.arange(GATES) >= sim.cycle)
        source = Source(gates if probability else None)
        sim.send("i", np.concatenate([job.words for job in jobs]))
        starved = 0
        for number, job in enumerate(jobs):
            where = f"{name}, {seed=}, load {number} of {job.rows} rows, {probability=}"
            sim.run(int(rng.integers(0, 4) * rng.integers(0, 2)))
            expected = predict(engine, job, sim.cycle, source)
            start(sim, job)
            assert sim.run(expected.idle - sim.cycle, until="idle") is StopReason.LIMIT, where
            assert (sim.get("idle"), sim.get("starved") - starved) == (1, expected.starved), where
            starved = sim.get("starved")
            check_writes(take_writes(sim, engine), job, where)
        assert (sim.unsent("i"), sim.get("corrupts"), sim.get("wrong")) == (0, 0, 0), where


def predict(engine: SparseConfig, job: Job, start: int, source: Source) -> Load:
    if not job.encoded:
        return load_raw(len(job.words), start, source)
    return load_encoded(engine, symbol_lengths(job.entries, engine), len(job.words), start, source)


@pytest.mark.parametrize("name", CONFIGS)
def test_loads(name: str) -> None:
    for seed in range(12):
        run_loads(name, seed)


@pytest.mark.slow
@pytest.mark.parametrize("name", CONFIGS)
def test_more_loads(name: str) -> None:
    for seed in range(1000, 1100):
        run_loads(name, seed)


@pytest.mark.parametrize("name", ENCODED)
def test_a_symbol_per_cycle(name: str) -> None:
    """A long load takes as many cycles as one decoder has symbols, and a few to begin and to end."""
    engine, rows = CONFIGS[name], DEPTH
    entries = np.random.default_rng(1).integers(0, 1 << engine.entry_width, (rows, engine.pes))
    words, tables = encode_tile(entries, engine)
    layout = EncodedFormat(engine)
    with model(name).start() as sim:
        put_tables(sim, tables)
        begin = sim.cycle
        sim.send("i", words)
        start(sim, Job(entries, 0, words, True, tables, 0))
        assert sim.run(1 << 17, until="idle") is StopReason.SIGNAL
        cycles = sim.cycle - 1 - begin - layout.table_cycles
    symbols = 2 * rows * layout.slice_pes
    # Where a word has few bits, or the decoders wait for each other, words are what takes the time.
    if layout.unit_chunks == 1 and engine.decoders == 1:
        assert symbols < cycles < symbols + 24
    else:
        assert symbols < cycles < max(1.1 * symbols, layout.slice_chunks * len(words)) + 24


def damage(engine: SparseConfig, job: Job, rng: np.random.Generator) -> Job:
    """Return a job with some bits flipped, or some words lost, doubled or cut off."""
    words, kind = job.words.copy(), rng.integers(4)
    if kind == 0:
        used = engine.weight_word_width
        for _ in range(int(rng.choice([1, 2, 10]))):
            bit = int(rng.integers(used))
            words[rng.integers(len(words)), bit // 32] ^= np.uint32(1 << bit % 32)
    elif kind == 1:
        words = words[: rng.integers(1, len(words) + 1)]
    elif kind == 2 and len(words) > 1:
        words = np.delete(words, rng.integers(len(words), size=rng.integers(1, len(words))), axis=0)
    else:
        at = rng.integers(len(words))
        words = np.insert(words, at, words[at], axis=0)
    return replace(job, words=words)


def run_damaged(name: str, seed: int) -> bool:
    """Return whether a damaged load was found out. It ends, changes nothing else, and the next loads are right."""
    rng = np.random.default_rng(seed)
    engine, layout = CONFIGS[name], EncodedFormat(CONFIGS[name])
    probability = float(rng.choice([0, 0.5]))
    good = draw_job(engine, rng, True, 0)
    while not 1 <= good.rows <= 40:
        good = draw_job(engine, rng, True, 0)
    bad = damage(engine, good, rng)
    where = f"{name}, {seed=}"
    with model(name).start() as sim:
        put_tables(sim, np.concatenate([np.zeros(good.base, np.uint16), good.tables]))
        sim.stall("i", probability, seed)
        sim.send("i", bad.words)
        begin = sim.cycle
        start(sim, bad)
        limit = layout.table_cycles + 2 * good.rows * layout.slice_pes + 40
        limit += (6 if probability else 1) * (layout.slice_chunks + 1) * (len(bad.words) + 8)
        assert sim.run(limit, until="idle") is StopReason.SIGNAL, f"{where}: busy after {sim.cycle - begin} cycles"
        found = sim.get("corrupts")
        writes = take_writes(sim, engine)
        assert len(writes) <= good.entries.size, where
        assert all(good.address <= address < good.address + good.rows for _, address, _ in writes), where
        if not found:
            check_writes(writes, good, where)
        jobs = [good]
        if sim.unsent("i"):  # a raw load takes what is left of the stream
            rest = bad.words[-sim.unsent("i") :]
            entries = unpack_lanes(rest, engine.pes, engine.entry_width, signed=False)
            jobs.insert(0, Job(entries, 0, rest, False, good.tables, 0))
        sim.send("i", good.words)
        for job in jobs:
            start(sim, job)
            assert sim.run(100_000, until="idle") is StopReason.SIGNAL, where
            check_writes(take_writes(sim, engine), job, where)
        assert (sim.unsent("i"), sim.get("corrupts"), sim.get("wrong")) == (0, found, 0), where
    return bool(found)


@pytest.mark.parametrize("name", ENCODED)
def test_damaged_streams(name: str) -> None:
    found = [run_damaged(name, seed) for seed in range(40)]
    assert sum(found) > 15  # the others hit bits that nobody reads


@pytest.mark.slow
@pytest.mark.parametrize("name", ENCODED)
def test_more_damaged_streams(name: str) -> None:
    for seed in range(1000, 1300):
        run_damaged(name, seed)


@pytest.mark.parametrize("name", CONFIGS)
def test_no_words(name: str) -> None:
    """Nothing happens, and the loader stays idle, whatever else it is told."""
    engine = CONFIGS[name]
    job = Job(np.zeros((5, engine.pes), dtype=np.int64), 3, np.zeros((0, 1), np.uint32), True, np.zeros(0), 0)
    with model(name).start() as sim:
        start(sim, job)
        for _ in range(400):
            assert (sim.get("idle"), sim.get("corrupts"), sim.received("o_writes")) == (1, 0, 0)
            sim.run(1)
