import random

import pytest

from celosia.sim.rtl import simulate

CYCLES = 40


def compare(make, seed):
    """Drives the component under Verilator, through the Verilog writer, and under Amaranth's simulator."""
    chooser = random.Random(seed)
    inputs = [f"x{index}" for index in range(make.INPUTS)]
    outputs = [f"y{index}" for index in range(make.OUTPUTS)]
    with simulate(make(seed), name="random_logic") as one, simulate(make(seed), backend="amaranth") as two:
        for cycle in range(CYCLES):
            for name in inputs:
                port = one.ports.signals[one.ports.signal(name)]
                top = 1 << (port.width - 1)
                value = chooser.choice([0, 2 * top - 1, top, top - 1, chooser.randrange(2 * top)])
                one.set(name, value)
                two.set(name, value)
            if cycle == CYCLES // 2:
                one.reset()
                two.reset()
            seen = [[sim.get(name) for name in outputs] for sim in (one, two)]
            assert seen[0] == seen[1], f"seed {seed}, cycle {cycle}"
            one.run(1)
            two.run(1)


@pytest.mark.parametrize("seed", range(8))
def test_random_logic_does_what_amaranth_says(random_logic, seed):
    compare(random_logic, seed)


@pytest.mark.slow
@pytest.mark.parametrize("block", range(10))
def test_much_random_logic_does_what_amaranth_says(random_logic, block):
    for seed in range(100 + 20 * block, 120 + 20 * block):
        compare(random_logic, seed)
