import random

import pytest

from celosia.sim.rtl import simulate

CYCLES = 40


def compare(make, seeds):
    """Drives the components under Verilator, through the Verilog writer, and under Amaranth's simulator."""
    chooser = random.Random(seeds[0])
    inputs, outputs = make(seeds).names
    with simulate(make(seeds), name="random_logic") as one, simulate(make(seeds), backend="amaranth") as two:
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
            for name in outputs:
                assert one.get(name) == two.get(name), f"{name}, cycle {cycle}"
            one.run(1)
            two.run(1)


def test_random_logic_does_what_amaranth_says(random_logic):
    compare(random_logic, range(8))


@pytest.mark.slow
@pytest.mark.parametrize("block", range(10))
def test_much_random_logic_does_what_amaranth_says(random_logic, block):
    compare(random_logic, range(100 + 20 * block, 120 + 20 * block))
