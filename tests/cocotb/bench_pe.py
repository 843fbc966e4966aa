"""Bench of one PE: every port in every cycle against a model of its contract."""

import random

import cocotb
from bench_tools import beat, settings, start_clock, within

from celosia.hw.systolic.config import SystolicConfig

CYCLES = 3000
LATENCY = 5  # cycles from an activation to its psum, as the PE's docstring says


class Model:
    """A PE in the words of its docstring."""

    def __init__(self) -> None:
        self.shadow = self.active = 0
        self.outputs: dict[str, int] = {}
        self.products = [0] * (LATENCY - 1)  # on their way to the adder

    def edge(self, activation: int, swap: int, shift: int, weight: int, psum: int) -> None:
        if swap:
            self.active = self.shadow
        if shift:
            self.outputs["o_weight"] = self.shadow
            self.shadow = weight
        self.products.append(activation * self.active)
        self.outputs |= {
            "o_activation": activation,
            "o_swap": swap,
            "o_shift": shift,
            "o_psum": psum + self.products.pop(0),
        }


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def ports_in_every_cycle(dut):
    given = settings()
    row = given.pop("row")
    config = SystolicConfig(**given)
    rng = random.Random(cocotb.RANDOM_SEED)
    psums = row * config.product_range[0], row * config.product_range[1]
    start_clock(dut)
    model = Model()
    for cycle in range(CYCLES):
        loading = cycle < 2 * LATENCY  # until the registers, which have no reset, hold what the model holds
        inputs = {
            "i_activation": within(rng, config.activation_range),
            "i_swap": int(loading or rng.random() < 0.2),
            "i_shift": int(loading or rng.random() < 0.5),
            "i_weight": within(rng, config.weight_range),
            "i_psum": within(rng, psums) if row else 0,
        }
        for name, value in inputs.items():
            if name != "i_psum" or row:
                port = getattr(dut, name)
                port.value = value & ((1 << len(port)) - 1)
        await beat(dut)
        model.edge(*inputs.values())
        if cycle < 2 * LATENCY:
            continue
        for name, value in model.outputs.items():
            port = getattr(dut, name)
            seen = int(port.value)
            wanted = value & ((1 << len(port)) - 1)
            assert seen == wanted, f"seed {cocotb.RANDOM_SEED} cycle {cycle}: {name} is {seen}, not {wanted}"
