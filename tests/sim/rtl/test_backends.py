import numpy as np
import pytest
from amaranth.hdl import signed, unsigned

from celosia.sim.rtl import SimulationError, StopReason, simulate

BACKENDS = ("verilator", "amaranth")


def random_words(rng, width, count):
    words = (width + 31) // 32
    payloads = rng.integers(0, 2**32, (count, words), dtype=np.uint64).astype(np.uint32)
    payloads[0], payloads[1] = 0, 2**32 - 1
    payloads[:, -1] &= (1 << (width - 32 * (words - 1))) - 1
    return payloads


def observe(sim, words, expected, seed):
    """Everything an observer can see of a run under random stalls."""
    log = []
    with sim:
        for index, port in enumerate(("i", "o")):
            sim.stall(port, (0.4, 0.6)[index], seed + index)
        sim.send("i", words[: len(words) // 2])
        log.append((sim.run(7), sim.cycle, sim.unsent("i"), sim.received("o")))
        sim.send("i", words[len(words) // 2 :])
        for _ in range(11):
            log.append((sim.run(1), sim.cycle, sim.unsent("i"), sim.received("o")))
        first = sim.receive("o")
        sim.expect("o", expected - len(first))
        log.append((sim.run(20_000, until="received"), sim.cycle, sim.unsent("i"), sim.received("o")))
        received = np.concatenate([first, sim.receive("o")])
        sim.reset()
        log.append((sim.cycle, sim.unsent("i"), sim.received("o")))
        sim.send("i", words[:8])
        log.append((sim.run(20_000, until="sent"), sim.cycle))
    return log, received


@pytest.mark.parametrize("width", [1, 8, 32, 33, 64, 65, 200])
def test_fifo_is_the_same_on_both_backends(parts, width):
    seed = 100 + width
    words = random_words(np.random.default_rng(seed), width, 60)
    seen = [observe(simulate(parts.Fifo(unsigned(width), 4), backend=name), words, 60, seed) for name in BACKENDS]
    assert seen[0][0] == seen[1][0], f"seed {seed}"
    for _log, received in seen:
        assert np.array_equal(received, words), f"seed {seed}"
    assert seen[0][0][-3][0] is StopReason.RECEIVED


@pytest.mark.parametrize("width", [5, 30])
def test_combinational_ready_and_wider_output(parts, width):
    words = random_words(np.random.default_rng(width), width, 80)
    seen = [observe(simulate(parts.Widen(width), backend=name), words, 20, width) for name in BACKENDS]
    assert seen[0][0] == seen[1][0]
    values = [int(word) for word in words[:, 0]]
    packed = [sum(values[4 * n + k] << (width * k) for k in range(4)) for n in range(20)]
    for _log, received in seen:
        assert [int.from_bytes(row.tobytes(), "little") for row in received] == packed


def test_signed_payloads_at_their_extremes(parts):
    rng = np.random.default_rng(5)
    values = rng.integers(-128, 128, (50, 8))
    values[0], values[1], values[2] = -128, 127, -1
    words = values.astype(np.int8).view(np.uint32).reshape(50, 2)
    for name in BACKENDS:
        _log, received = observe(simulate(parts.Adders(), backend=name), words, 50, 9)
        sums = (received[:, 0].astype(np.int64) + 1024) % 2048 - 1024
        assert np.array_equal(sums, values.sum(axis=1)), name


def test_plain_ports_and_memory(parts):
    rng = np.random.default_rng(11)
    steps = [[int(value) for value in rng.integers(0, limit, 200)] for limit in (16, 1 << 16, 4, 2)]
    seen = []
    for name in BACKENDS:
        with simulate(parts.Table(), backend=name) as sim:
            values = []
            for address, word, enable, read in zip(*steps, strict=True):
                sim.set("port__address", address)
                sim.set("port__data", word)
                sim.set("port__enable", enable)
                sim.set("port__read", read)
                sim.run(1)
                values.append(sim.get("q"))
            sim.set("wide", 1 << 99)
            values.append(sim.get("busy"))
            values.append(sim.run(10, until="busy"))
            sim.set("wide", 0)
            values += [sim.run(10, until="busy"), sim.cycle, sim.get("wide")]
        seen.append(values)
    assert seen[0] == seen[1]
    assert seen[0][-5:] == [1, StopReason.SIGNAL, StopReason.LIMIT, 211, 0]


@pytest.mark.parametrize("backend", BACKENDS)
def test_signed_plain_ports_and_numbers_out_of_range(parts, backend):
    with simulate(parts.Fifo(signed(16), 4), backend=backend) as sim:
        sim.send("i", [-1, -32768, 7])
        assert sim.run(100, until="sent") is StopReason.SENT
        assert sim.get("level") == 0 or sim.get("level") <= 3
        with pytest.raises(SimulationError, match="is an output"):
            sim.set("level", 1)
        with pytest.raises(SimulationError, match="no stream 'x'; it has: i, o"):
            sim.send("x", [1])
        with pytest.raises(SimulationError, match="is a sink"):
            sim.send("o", [1])
        with pytest.raises(SimulationError, match="is a source"):
            sim.receive("i")
        with pytest.raises(SimulationError, match=r"shape \(1, 2\), must be \(payloads, 1\)"):
            sim.send("i", np.zeros((1, 2), np.uint32))
        with pytest.raises(SimulationError, match="5 were asked for"):
            sim.receive("o", 5)
        with pytest.raises(SimulationError, match="3 bits, must be 1"):
            sim.run(1, until="level")
    with simulate(parts.Table(), backend=backend) as sim, pytest.raises(SimulationError, match="does not fit"):
        sim.set("port__address", 16)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_stream_that_never_gets_through_reaches_the_limit(parts, backend):
    with simulate(parts.Fifo(unsigned(8), 4), backend=backend) as sim:
        sim.stall("o", 1.0)
        sim.send("i", range(10))
        sim.expect("o", 1)
        assert sim.run(50, until="received") is StopReason.LIMIT
        assert (sim.cycle, sim.get("level"), sim.unsent("i")) == (50, 4, 6)


def test_long_runs_keep_counting(parts):
    count = 600_000  # more than one slice of cycles
    with simulate(parts.Fifo(unsigned(32), 4)) as sim:
        words = np.arange(count, dtype=np.uint32)
        sim.send("i", words)
        sim.expect("o", count)
        assert sim.run(10 * count, until="received") is StopReason.RECEIVED
        assert sim.cycle == count + 1
        assert np.array_equal(sim.receive("o")[:, 0], words)


def test_simulators_of_one_model_are_independent(parts):
    from celosia.sim.rtl import build

    model = build(parts.Fifo(unsigned(8), 4), name="fifo")
    with model.start() as one, model.start() as two:
        one.send("i", [1, 2, 3])
        one.stall("o", 1.0)
        one.run(5)
        assert (one.get("level"), two.get("level"), two.cycle) == (3, 0, 0)
