"""What tools of AXI find at the ports, and what happens to words with bytes missing."""

import re

import numpy as np
import pytest

from celosia.hw.link.axi_lite import AxiLiteLink
from celosia.hw.link.axi_stream import AxiStreamLink
from celosia.hw.top import LinkedAccelerator
from celosia.hw.verilog import write_verilog
from celosia.sim.rtl import build

CLOCKS = {
    "aclk": (
        "xilinx.com:signal:clock:1.0 aclk CLK",
        "ASSOCIATED_BUSIF {buses}, ASSOCIATED_RESET aresetn",
    ),
    "aresetn": ("xilinx.com:signal:reset:1.0 aresetn RST", "POLARITY ACTIVE_LOW"),
}


@pytest.mark.parametrize(
    ("link", "kind", "buses"), [(AxiStreamLink, "axis", ("s_axis", "m_axis")), (AxiLiteLink, "aximm", ("s_axi",))]
)
def test_attributes(link, kind, buses, link_config):
    """Each port says in the line before it what it is; nothing else in the file has such attributes."""
    verilog = write_verilog(LinkedAccelerator(link_config, link(link_config)), "linked")
    head = verilog[: verilog.index(");")]
    ports = re.findall(r"((?:^  \(\* .* \*\)\n)*)^  (?:in|out)put .*?(\w+),?$", head, re.MULTILINE)
    assert len(ports) == len(link(link_config).signature.members)  # two streams less, clock and reset more
    for attributes, port in ports:
        found = dict(re.findall(r'\(\* (\w+) = "(.*)" \*\)', attributes))
        if port in CLOCKS:
            info, parameter = CLOCKS[port]
            expected = {"X_INTERFACE_INFO": info, "X_INTERFACE_PARAMETER": parameter.format(buses=":".join(buses))}
        else:
            bus = next(bus for bus in buses if port.startswith(f"{bus}_"))
            role = port.removeprefix(f"{bus}_").upper()
            expected = {"X_INTERFACE_INFO": f"xilinx.com:interface:{kind}:1.0 {bus} {role}"}
        assert found == expected
    assert "X_INTERFACE" not in verilog[len(head) :]


def test_stream_words(link_config):
    """A word with a byte missing is bad, wherever it is."""
    with build(AxiStreamLink(link_config), name="axi_stream_link_test").start() as sim:
        for keep in range(16):
            for last in (0, 1):
                for name, value in (("tdata", 0x01020304 + keep), ("tkeep", keep), ("tlast", last), ("tvalid", 1)):
                    sim.set(f"s_axis_{name}", value)
                sim.run(1)
                assert sim.receive("requests").tolist() == [[0x01020304 + keep, last | (keep != 15) << 1]]


@pytest.mark.parametrize("stalls", [0, 0.5])
def test_stream_answers(stalls, link_config):
    """An answer's words come out with all bytes, whether or not the host is ready before it sees them."""
    words = np.array([[0xDEADBEE0 + index, index % 3 == 2] for index in range(30)])
    taken = []
    with build(AxiStreamLink(link_config), name="axi_stream_link_test").start() as sim:
        sim.stall("answers", stalls, 3)
        sim.send("answers", words)
        for cycle in range(200):
            valid = sim.get("m_axis_tvalid")
            ready = cycle % 4 != 3 and (valid or cycle % 2)
            sim.set("m_axis_tready", int(ready))
            assert sim.get("m_axis_tvalid") == valid
            if valid and ready:
                assert sim.get("m_axis_tkeep") == 15
                taken.append([sim.get("m_axis_tdata"), sim.get("m_axis_tlast")])
            sim.run(1)
    assert taken == words.tolist()
