import re
import subprocess

import pytest
from amaranth.hdl import ClockDomain, Instance, Module, ResetInserter, Signal, signed
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from celosia.hw.verilog import LINT_WAIVERS, VerilogError, write_verilog
from celosia.sim.rtl.compiler import verilator_root

# A component that is refused is never elaborated, which Amaranth reports when it is collected.
pytestmark = pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")


class Cell(wiring.Component):
    """Adds a product to what passes."""

    def __init__(self, width=20):
        self._width = width
        super().__init__({"a": In(signed(8)), "b": In(signed(8)), "psum": In(signed(width)), "o": Out(signed(width))})

    def elaborate(self, _platform):
        m = Module()
        m.d.sync += self.o.eq(self.psum + self.a * self.b)
        return m


class Machine(wiring.Component):
    """Counts what it is given, three at a time."""

    def __init__(self):
        super().__init__(
            {
                "i": In(stream.Signature(signed(8))),
                "total": Out(signed(20)),
                "busy": Out(1),
                "weight": In(signed(8)),
                "run": In(wiring.Signature({"start": Out(1)})),
            }
        )

    def elaborate(self, _platform):
        m = Module()
        kept = Signal(attrs={"keep": 1})
        dead = Signal(8)
        m.d.sync += [dead.eq(dead + 1), kept.eq(self.run.start)]
        cells = [Cell() for _ in range(4)]
        last = self.total
        for index, cell in enumerate(cells):
            m.submodules[f"cell_{index}"] = cell
            following = cells[index + 1].psum if index < 3 else last
            m.d.comb += [cell.a.eq(self.i.payload), cell.b.eq(self.weight), following.eq(cell.o)]
        m.d.comb += cells[0].psum.eq(self.total)
        count = Signal(2)
        with m.FSM():
            with m.State("WAIT"), m.If(self.run.start):
                m.next = "COUNT"
            with m.State("COUNT"):
                m.d.comb += [self.i.ready.eq(1), self.busy.eq(1)]
                with m.If(self.i.valid):
                    m.d.sync += count.eq(count + 1)
                    with m.If(count == 2):
                        m.next = "REST"
            with m.State("REST"):
                m.next = "WAIT"
        return m


@pytest.fixture(scope="module")
def text():
    return write_verilog(Machine(), "machine", header="config abc\n\nhash 123")


def module(text, name):
    return re.search(rf"^module {name} \(.*?^endmodule", text, re.DOTALL | re.MULTILINE)[0]


def test_header_is_a_comment_before_everything(text):
    assert text.startswith("// config abc\n//\n// hash 123\n")


def test_equal_components_become_one_module(text):
    assert re.findall(r"^module (\w+)", text, re.MULTILINE) == ["machine", "machine_cell"]
    assert len(re.findall(r"^  machine_cell cell_\d \(", text, re.MULTILINE)) == 4
    assert "// Adds a product to what passes. (4 instances)\n" in text


def test_different_components_stay_apart():
    class Two(wiring.Component):
        a: In(signed(8))
        o: Out(signed(20))
        p: Out(signed(24))

        def elaborate(self, _platform):
            m = Module()
            for name, width, output in (("narrow", 20, self.o), ("wide", 24, self.p)):
                m.submodules[name] = cell = Cell(width)
                m.d.comb += [cell.a.eq(self.a), cell.b.eq(self.a), cell.psum.eq(output), output.eq(cell.o)]
            return m

    text = write_verilog(Two(), "two")
    assert re.findall(r"^module (\w+)", text, re.MULTILINE) == ["two", "two_cell", "two_cell_2"]


def test_ports_have_the_components_own_names(text):
    ports = re.findall(r"^  (?:input|output) .*?(\w+)(?: = .*?)?,?$", module(text, "machine"), re.MULTILINE)
    assert ports == ["clk", "rst", "i__payload", "i__valid", "i__ready", "total", "busy", "weight", "run__start"]
    assert re.findall(r"input .*?(\w+),?$", module(text, "machine_cell"), re.MULTILINE) == [
        "clk",
        "rst",
        "a",
        "b",
        "psum",
    ]


def test_arithmetic_is_one_expression(text):
    assert "    else o <= psum + a * b;\n" in module(text, "machine_cell")


def test_registers_reset_first_and_then_enable(text):
    lines = module(text, "machine")
    assert re.search(r"if \(rst\) count <= 2'd0;\n    else \w*", lines)


def test_state_machines_stay_case_statements(text):
    assert "case (fsm_state)" in module(text, "machine")


def test_no_escapes_no_temporaries_no_dead_logic(text):
    assert "\\" not in text
    assert "$" not in text.replace("$signed", "").replace("$unsigned", "")
    assert "dead" not in text
    assert "generator" not in text
    assert all(len(line) <= 120 for line in text.splitlines())


def test_attributes_for_tools_are_kept(text):
    assert re.search(r"\(\* keep = 1 \*\)\n  reg +kept", text)


def test_memories():
    class Memories(wiring.Component):
        address: In(3)
        enable: In(2)
        write: In(16)
        o: Out(16)
        p: Out(16)

        def elaborate(self, _platform):
            m = Module()
            m.submodules.table = table = Memory(shape=16, depth=8, init=range(8))
            m.submodules.store = store = Memory(shape=16, depth=8, init=[], attrs={"ram_style": "block"})
            look, read, write = table.read_port(domain="comb"), store.read_port(), store.write_port(granularity=8)
            m.d.comb += [
                *(look.addr.eq(self.address), self.o.eq(look.data), read.addr.eq(self.address), self.p.eq(read.data)),
                *(
                    read.en.eq(self.enable[0]),
                    write.addr.eq(self.o),
                    write.en.eq(self.enable),
                    write.data.eq(self.write),
                ),
            ]
            return m

    text = write_verilog(Memories(), "memories")
    assert "    table_2[7] = 16'h7;" in text  # `table` is a word of Verilog's
    assert '(* ram_style = "block" *)\n  reg  [15:0] store [0:7];' in text
    assert re.search(r"initial for \((\w+) = 0; \1 < 8; \1 = \1 \+ 1\) store\[\1\] = 16'h0;", text)
    assert "if (enable[0]) store[o[2:0]][7:0] <= write[7:0];" in text
    assert "if (enable[1]) store[o[2:0]][15:8] <= write[15:8];" in text
    assert "if (enable[0]) p <= store[address];" in text


def test_foreign_instances_keep_parameters_and_attributes():
    class Foreign(wiring.Component):
        a: In(4)
        o: Out(4)

        def elaborate(self, _platform):
            m = Module()
            m.submodules.ff = Instance(
                "FF", a_keep=1, p_MODE="fast", p_DELAY=3, p_INIT=signed(4).width, i_D=self.a, o_Q=self.o
            )
            return m

    text = write_verilog(Foreign(), "foreign")
    assert '  (* keep = 1 *)\n  FF #(.MODE("fast"), .DELAY(3), .INIT(4)) ff (.D(a), .Q(o));' in text


def test_equal_text_from_equal_components():
    assert write_verilog(Machine(), "machine") == write_verilog(Machine(), "machine")


def test_inserted_resets_do_not_hide_the_component():
    class Outer(wiring.Component):
        a: In(signed(8))
        clear: In(1)
        o: Out(signed(20))

        def elaborate(self, _platform):
            m = Module()
            cell = Cell()
            m.submodules.inner = ResetInserter(self.clear)(cell)
            m.d.comb += [cell.a.eq(self.a), cell.b.eq(self.a), self.o.eq(cell.o)]
            return m

    assert "module outer_cell (" in write_verilog(Outer(), "outer")


def test_names_that_verilog_cannot_have_are_refused():
    with pytest.raises(VerilogError, match="'module' cannot be the name"):
        write_verilog(Machine(), "module")
    with pytest.raises(VerilogError, match="'a-b' cannot be the name"):
        write_verilog(Machine(), "a-b")


class SignedDivision(wiring.Component):
    a: In(signed(8))
    b: In(signed(8))
    o: Out(signed(9))

    def elaborate(self, _platform):
        m = Module()
        m.d.comb += self.o.eq(self.a // self.b)
        return m


class AsynchronousReset(wiring.Component):
    clock: In(1)
    clear: In(1)
    o: Out(8)

    def elaborate(self, _platform):
        m = Module()
        m.domains.sync = domain = ClockDomain(async_reset=True)
        m.d.comb += [domain.clk.eq(self.clock), domain.rst.eq(self.clear)]
        m.d.sync += self.o.eq(self.o + 1)
        return m


def test_asynchronous_reset_is_in_the_sensitivity_list():
    written = write_verilog(AsynchronousReset(), "top")
    block = """\
  always @(posedge clock or posedge clear) begin
    if (clear) o <= 8'd0;
    else o <= o + 8'd1;
  end
"""
    assert block in written


class TwoPortsOfOneNet(wiring.Component):
    """Two outputs with the same value, each with an attribute of its own."""

    def __init__(self):
        super().__init__({"i": In(1), "o_left": Out(1), "o_right": Out(1), "o_plain": Out(1)})
        self.o_left.attrs["side"] = "left"
        self.o_right.attrs["side"] = "right"

    def elaborate(self, _platform):
        m = Module()
        state = Signal()
        m.d.sync += state.eq(self.i)
        m.d.comb += [self.o_left.eq(state), self.o_right.eq(state), self.o_plain.eq(state)]
        return m


def test_a_port_has_its_own_attributes():
    head = write_verilog(TwoPortsOfOneNet(), "top").partition(");")[0]
    for side in ("left", "right"):
        assert re.search(rf'\(\* side = "{side}" \*\)\n  output \w+ +o_{side}\b', head), head
    assert re.search(r"o_right,\n  output \w+ +o_plain", head), head


def test_what_cannot_be_written_is_refused():
    with pytest.raises(VerilogError, match="signed division"):
        write_verilog(SignedDivision(), "top")


def test_every_waiver_has_its_reason_before_it():
    lines = LINT_WAIVERS.splitlines()[1:]
    assert all(reason.startswith("// ") for reason in lines[::2])
    assert all(re.fullmatch(r"lint_off -rule [A-Z]+", waiver) for waiver in lines[1::2])


def test_verilators_lint_is_clean(text, tmp_path):
    (tmp_path / "machine.v").write_text(text)
    (tmp_path / "waivers.vlt").write_text(LINT_WAIVERS)
    root = verilator_root()
    command = [
        root / "bin" / "verilator_bin",
        "--lint-only",
        "-Wall",
        "--no-timing",
        "--top-module",
        "machine",
        "waivers.vlt",
        "machine.v",
    ]
    answer = subprocess.run(command, cwd=tmp_path, env={"VERILATOR_ROOT": str(root)}, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
