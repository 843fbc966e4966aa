"""Bench of the core's streams: results and counters under stalls that the bench itself makes."""

import random

import cocotb
import numpy as np
from bench_accelerator import configure, network
from bench_tools import Sink, Source, beat, reset, start_clock
from cocotb.triggers import ClockCycles

from celosia.host.compile import compile_network
from celosia.hw.protocol import RUN_FIELDS
from celosia.sim.cycles.model import predict
from celosia.sim.golden.systolic import run_layer

PATIENCE = 20_000  # cycles


class Gate:
    """Draws for each cycle whether a stream's outer side stalls, and remembers it."""

    def __init__(self, rng: random.Random) -> None:
        self._rng, self._share = rng, rng.choice((0.0, 0.2, 0.8))
        self.open: list[bool] = []

    def stalls(self) -> bool:
        """Draw for the next cycle."""
        self.open.append(self._rng.random() >= self._share)
        return not self.open[-1]


@cocotb.test(timeout_time=20, timeout_unit="ms")
@cocotb.parametrize(case=range(3))
async def streams(dut, case):
    config = configure()
    rng = random.Random(f"{cocotb.RANDOM_SEED} {case}")
    numpy_rng = np.random.default_rng(rng.getrandbits(64))
    program = compile_network(network(numpy_rng, [7, rng.randint(5, 9), rng.randint(5, 9)]), config, batch=10)
    assert program.weight_stream is not None
    x = numpy_rng.choice([*numpy_rng.integers(-128, 128, 9), -128, 127, 0], (10, 7))
    iterations = -(-len(x) // program.vectors)
    golden = x
    for layer in program.network.layers:
        golden = run_layer(layer, golden)

    gates = {name: Gate(rng) for name in ("inputs", "weights", "results")}
    sources = {name: Source(dut, f"i_{name}", gates[name].stalls) for name in ("inputs", "weights")}
    sink = Sink(dut, "o_results", gates["results"].stalls)
    start_clock(dut)
    dut.run_start.value = dut.run_abort.value = dut.host_write_enable.value = 0
    await reset(dut)
    for memory, image in program.image.items():
        await write(dut, config.memory(memory).id, image)

    run = program.run_parameters(iterations, stream=True)
    packed = offset = 0
    for name, width in RUN_FIELDS.items():
        packed |= getattr(run, name) << offset
        offset += width
    dut.run.value = packed
    sources["inputs"].send(numbers(program.pack_inputs(x)))
    sources["weights"].send(numbers(np.concatenate([program.weight_stream] * iterations)))
    await beat(dut)
    first = {name: len(gate.open) - 1 for name, gate in gates.items()}  # the gate of this cycle, the run's cycle 0
    dut.run_start.value = 1
    await beat(dut)
    dut.run_start.value = 0
    about = f"seed {cocotb.RANDOM_SEED} case {case}"
    for _ in range(PATIENCE):
        await beat(dut)
        if not dut.busy.value:
            break
    else:
        raise AssertionError(f"{about}: the run did not end within {PATIENCE} cycles")
    await ClockCycles(dut.clk, 4)  # the counters follow behind

    words = np.array(
        [[w >> s & 0xFFFF_FFFF for s in range(0, word_bits(config), 32)] for w in sink.received], np.uint32
    )
    np.testing.assert_array_equal(program.unpack_outputs(words, len(x)), golden, err_msg=about)
    assert not any(source.left for source in sources.values()), about
    counters = int(dut.cause_cycles.value)
    width = config.counter_width
    causes = {name: counters >> (width * index) & ((1 << width) - 1) for index, name in enumerate(config.causes)}
    open_gates = {name: np.array([*gate.open[first[name] :], True]) for name, gate in gates.items()}
    cycles = predict(config, [step.fields for step in program.steps], run, **open_gates)
    assert causes == cycles.causes, about
    assert int(dut.total_cycles.value) == cycles.total, about


def word_bits(config) -> int:
    """Return the bits of a result word, in whole link words."""
    return 32 * config.memory("outputs").link_words


def numbers(words: np.ndarray) -> list[int]:
    """Return memory words as whole numbers."""
    return [sum(int(part) << (32 * index) for index, part in enumerate(word)) for word in words]


async def write(dut, memory: int, image: np.ndarray) -> None:
    """Write an image into a memory through the host port."""
    dut.host_memory.value = memory
    dut.host_write_enable.value = 1
    for address, word in enumerate(numbers(image)):
        dut.host_address.value = address
        dut.host_write_data.value = word
        await beat(dut)
    dut.host_write_enable.value = 0
