import numpy as np
import pytest
from amaranth.sim import Simulator

from celosia.hw.systolic.config import SystolicConfig
from celosia.hw.systolic.pe import PE


@pytest.mark.parametrize("row", [0, 1, 3])
@pytest.mark.parametrize("signed", [True, False])
def test_random_beats(row, signed):
    """Every output, every cycle, against the delays that the docstring promises."""
    seed = 1
    rng = np.random.default_rng(seed)
    config = SystolicConfig(rows=4, cols=4, activation_signed=signed)
    dut = PE(config, row=row)
    beats = 200
    activation = rng.choice([*config.activation_range, 0, 1, 77], beats)
    weight = rng.integers(config.weight_range[0], config.weight_range[1] + 1, beats)
    weight[rng.random(beats) < 0.3] = config.weight_range[0]
    swap, shift = rng.random((2, beats)) < 0.4
    psum = rng.integers(config.product_range[0] * row, config.product_range[1] * row + 1, beats)
    shadow = leaving = active = 0
    left, products = [], []
    for beat in range(beats):
        active = shadow if swap[beat] else active
        products.append(int(activation[beat]) * int(active))
        leaving, shadow = (shadow, int(weight[beat])) if shift[beat] else (leaving, shadow)
        left.append(leaving)

    async def bench(ctx):
        for beat in range(beats):
            where = f"{seed=} {beat=}"
            if beat >= 1:
                assert ctx.get(dut.o_activation) == activation[beat - 1], where
                assert ctx.get(dut.o_swap) == swap[beat - 1], where
                assert ctx.get(dut.o_shift) == shift[beat - 1], where
                assert ctx.get(dut.o_weight) == left[beat - 1], where
            if beat >= PE.LATENCY:
                assert ctx.get(dut.o_psum) == products[beat - PE.LATENCY] + psum[beat - 1], where
            ctx.set(dut.i_activation, int(activation[beat]))
            ctx.set(dut.i_weight, int(weight[beat]))
            ctx.set(dut.i_swap, bool(swap[beat]))
            ctx.set(dut.i_shift, bool(shift[beat]))
            if row > 0:
                ctx.set(dut.i_psum, int(psum[beat]))
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-8)
    simulator.add_testbench(bench)
    simulator.run()


def test_psums_widen_by_row():
    config = SystolicConfig(rows=4, cols=1)
    assert [config.psum_width(row) for row in range(4)] == [16, 17, 17, 18]
    assert (config.column_width, config.resolved_accumulator_width) == (18, 32)
