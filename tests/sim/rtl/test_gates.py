import numpy as np
import pytest
from amaranth.hdl import unsigned

from celosia.sim.rtl import gate_pattern, simulate, stall_threshold
from celosia.sim.rtl.gates import gate_open


def test_first_draws_are_those_of_splitmix64():
    # The generator's published first outputs for seed 1234567 (Vigna's reference implementation).
    published = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]
    for cycle, value in enumerate(published):
        draw = value >> 32
        assert gate_open(1234567, draw, cycle)
        assert not gate_open(1234567, draw + 1, cycle)


@pytest.mark.parametrize("probability", [0, 0.01, 0.5, 0.97, 1])
def test_pattern_stalls_as_often_as_asked(probability):
    pattern = gate_pattern(7, stall_threshold(probability), 100_000)
    assert abs((~pattern).mean() - probability) < 0.01
    assert pattern.all() == (probability == 0)
    assert (not pattern.any()) == (probability == 1)


def test_pattern_is_the_same_from_any_cycle_on():
    threshold = stall_threshold(0.3)
    whole = gate_pattern(3, threshold, 500)
    assert np.array_equal(gate_pattern(3, threshold, 200, start=300), whole[300:])
    assert [gate_open(3, threshold, cycle) for cycle in range(500)] == whole.tolist()


@pytest.mark.parametrize("probability", [-0.1, 1.5, float("nan")])
def test_impossible_probabilities_are_refused(probability):
    with pytest.raises(ValueError, match="must be between 0 and 1"):
        stall_threshold(probability)


@pytest.mark.parametrize("backend", ["verilator", "amaranth"])
def test_the_simulator_follows_the_pattern_exactly(parts, backend):
    seeds, probabilities, cycles = (21, 22), (0.55, 0.35), 400
    gates = [gate_pattern(seed, stall_threshold(p), cycles) for seed, p in zip(seeds, probabilities, strict=True)]
    depth, level, offered = 4, 0, False
    arrivals = []
    for cycle in range(cycles):
        offered = offered or bool(gates[0][cycle])
        put, take = offered and level < depth, level > 0 and bool(gates[1][cycle])
        level += put - take
        offered = offered and not put
        arrivals.append((arrivals[-1] if arrivals else 0) + take)
    with simulate(parts.Fifo(unsigned(8), depth), backend=backend) as sim:
        sim.stall("i", probabilities[0], seeds[0])
        sim.stall("o", probabilities[1], seeds[1])
        sim.send("i", np.zeros(cycles, np.uint32))
        seen = []
        for _ in range(cycles):
            sim.run(1)
            seen.append(sim.received("o"))
    assert seen == arrivals
