"""Every link of the table, in front of an accelerator: it can be built, and its Verilog is clean."""

import re
import subprocess

import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from celosia.hw.config import AcceleratorConfig
from celosia.hw.link.packets import link_stream
from celosia.hw.link.table import LINKS, find_link
from celosia.hw.systolic.config import SystolicConfig
from celosia.hw.top import LinkedAccelerator
from celosia.hw.verilog import LINT_WAIVERS, top_ports, write_verilog
from celosia.sim.rtl.compiler import verilator_root

# A link with its parameters, by what it is called here; those of the table need one each.
CASES = {
    "bytes": ("bytes", {}),
    "uart": ("uart", {"clock_hz": 48e6, "baud": 3e6}),
    "uart, flow control": ("uart", {"clock_hz": 12e6, "baud": 115200, "flow_control": True}),
    "fifo245": ("fifo245", {}),
    "fifo245, 16 bits": ("fifo245", {"width": 16}),
    "axi-stream": ("axi-stream", {}),
    "axi-lite": ("axi-lite", {}),
    "wishbone": ("wishbone", {}),
}
OWN_CLOCKS = ("fifo245", "axi-stream")  # these also with a clock of the link's own


CONFIG = AcceleratorConfig(
    engine=SystolicConfig(rows=2, cols=2),
    program_depth=32,
    weight_depth=32,
    parameter_depth=32,
    input_depth=16,
    activation_depth=16,
    output_depth=16,
    packet_words=64,
)


def test_every_link_has_a_case():
    assert {name for name, _ in CASES.values()} == set(LINKS)


class Echo(wiring.Component):
    """Instead of an accelerator, whose Verilog is checked elsewhere."""

    def __init__(self):
        super().__init__({"i": In(link_stream()), "o": Out(link_stream())})

    def elaborate(self, _platform):
        m = Module()
        wiring.connect(m, wiring.flipped(self.i), wiring.flipped(self.o))
        return m


def cases():
    """A case, the link's clock domain, and whether there is an accelerator behind it."""
    for case in CASES:
        yield pytest.param(case, None, False, id=case)
        yield pytest.param(case, None, True, id=f"{case}, accelerator", marks=pytest.mark.slow)
    for case in OWN_CLOCKS:
        yield pytest.param(case, "link", False, id=f"{case}, own clock")
        yield pytest.param(case, "link", True, id=f"{case}, own clock, accelerator", marks=pytest.mark.slow)


def build(case, domain, whole):
    name, parameters = CASES[case]
    linked = LinkedAccelerator(CONFIG, find_link(name).build(CONFIG, **parameters), link_domain=domain)
    if not whole:
        linked.accelerator = Echo()
    return linked


@pytest.mark.parametrize(("case", "domain", "whole"), [*cases()])
def test_link(case, domain, whole, tmp_path):
    linked = build(case, domain, whole)
    members = linked.link.signature.members
    assert members["requests"] == Out(link_stream())
    assert members["answers"] == In(link_stream())
    verilog = write_verilog(linked, "linked")
    check_ports(linked, verilog)
    (tmp_path / "linked.v").write_text(verilog)
    (tmp_path / "lint.vlt").write_text(LINT_WAIVERS)
    root = verilator_root()
    command = [root / "bin" / "verilator_bin", "--lint-only", "-Wall", "--no-timing", "lint.vlt", "linked.v"]
    answer = subprocess.run(command, cwd=tmp_path, env={"VERILATOR_ROOT": str(root)}, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr


def check_ports(linked, verilog):
    """The link's, by their names, with clocks and resets."""
    head = verilog[verilog.index("module linked") : verilog.index(");")]
    found = re.findall(r"(?:input|output) +(?:wire|reg) +(?:\[\d+:\d+\] )?(\w+)", head)
    clocks = set() if hasattr(linked.link, "clock_ports") else {"clk", "rst"}
    if linked.link_domain == "link":
        clocks = {f"link_{port}" for port in clocks} | {"clk", "rst"}
    assert sorted(found) == sorted([*clocks, *top_ports(linked)])
