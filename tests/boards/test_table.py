"""Every board: its declaration against its platform, its designs against its chip, and its top as RTLIL."""

import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from celosia.boards.clocks import MHZ, plan_clock
from celosia.boards.limits import least_usage, too_much
from celosia.boards.table import BOARDS, all_boards, find_board
from celosia.boards.tools import SynthesisError
from celosia.host.cli.demo import NETWORKS, _quantized
from celosia.host.fit import fit_memories
from celosia.hw.binary.config import BinaryConfig
from celosia.hw.config import AcceleratorConfig
from celosia.hw.link.packets import link_stream

DESIGNS = [(board.name, engine) for board in all_boards() for engine in board.designs]


@pytest.mark.parametrize("name", BOARDS)
def test_declares_what_the_platform_says(name):
    pytest.importorskip("amaranth_boards")
    board = find_board(name)
    assert board.name == name
    platform = board.load_platform()
    assert platform.lookup(board.clock).clock.frequency == board.clock_hz
    for resource, number, *part in board.leds.values():
        found = platform.lookup(resource, number)
        assert not part or part[0] in [sub.name for sub in found.ios]
    if board.header is None:
        names = [sub.name for sub in platform.lookup("uart").ios]
        assert {"rx", "tx"} <= set(names)
    else:
        assert ("uart", 0) not in platform.resources
        connector = platform.connectors[board.header.connector].mapping
        for pin in (board.header.rx, board.header.tx):
            assert connector[pin] in board.serial or pin in board.serial
    options = " ".join(board.device.options)
    if board.device.family == "ecp5":
        kind = platform._nextpnr_device_options[platform.device]
        package = platform._nextpnr_package_options[platform.package].upper()
        assert options == f"{kind} --package {package} --speed {platform.speed}"
    elif board.device.family == "ice40":
        assert options == f"--{platform.device[5:].lower()} --package {platform.package.lower()}"


@pytest.mark.parametrize("name", [name for name in BOARDS if find_board(name).pins])
def test_pins_are_the_platforms(name):
    pytest.importorskip("amaranth_boards")
    board = find_board(name)
    platform = board.load_platform()
    uart = {sub.name: sub.ios[0].names[0] for sub in platform.lookup("uart").ios}
    assert board.pins == {
        "clock": platform.lookup(board.clock).ios[0].names[0],
        "reset_n": platform.lookup("rst").ios[0].names[0],
        "alive": platform.lookup(*board.leds["alive"]).ios[0].names[0],
        **uart,
    }


@pytest.mark.parametrize(("name", "engine"), DESIGNS)
def test_designs_have_room_for_their_memories(name, engine):
    board = find_board(name)
    design = board.designs[engine]
    assert design.config.engine_name == engine
    assert not too_much(least_usage(design.config, board.device))
    plan = plan_clock(board.device.family, board.clock_hz, design.clock_mhz * MHZ)
    assert plan.mhz == design.clock_mhz


@pytest.mark.parametrize(("name", "engine"), [(name, engine) for name, engine in DESIGNS if name == "ulx3s-85f"])
def test_the_large_boards_memories_hold_every_network_of_the_demo(name, engine):
    config = find_board(name).designs[engine].config
    for model in NETWORKS[engine].values():
        assert fit_memories(_quantized(model(), config)[0], config) == config


class Loop(wiring.Component):
    """In the place of an accelerator, whose RTLIL takes seconds: sends back what it gets."""

    def __init__(self, config):
        self.config, self.busy, self.error = config, Signal(), Signal()
        super().__init__({"i": In(link_stream()), "o": Out(link_stream())})

    def elaborate(self, platform):  # noqa: ARG002
        m = Module()
        wiring.connect(m, wiring.flipped(self.i), wiring.flipped(self.o))
        return m


# With one of the boards the accelerator is a real one.
@pytest.mark.parametrize("name", [name for name in BOARDS if not find_board(name).pins])
def test_the_top_elaborates_for_the_platform(name, monkeypatch):
    pytest.importorskip("amaranth_boards")
    from celosia.boards import top
    from celosia.boards.packing import PACKERS

    if name != "icebreaker":
        monkeypatch.setattr(top, "Accelerator", Loop)
    board = find_board(name)
    depths = ("program", "weight", "parameter", "input", "activation", "output")
    config = AcceleratorConfig(
        engine=BinaryConfig(pes=2, simd=2),
        packet_words=64,
        **{f"{name}_depth": 64 for name in depths},
    )
    plan = plan_clock(board.device.family, board.clock_hz, 24e6)
    assert plan.uses_pll
    files = (
        board.load_platform().prepare(top.BoardTop(board, config, plan, board.baud), name="top", emit_src=False).files
    )
    pins = _text(files[f"top{PACKERS[board.device.family].pins_suffix}"])
    for port in (
        "uart_0__rx__io",
        "uart_0__tx__io",
        *(f"{name}_{number}_" for name, number, *_ in board.leds.values()),
    ):
        assert port in pins
    rate = float(plan.output_hz)
    constraint = {
        "ecp5": f'FREQUENCY NET "clock.made" {rate} HZ;',
        "ice40": f"set_frequency clock.made {rate / MHZ}",
    }
    assert constraint[board.device.family] in pins
    pll = {"ecp5": "EHXPLLL", "ice40": "SB_PLL40_PAD" if board.clock_pad else "SB_PLL40_CORE"}
    assert _text(files["top.il"]).count(f"cell \\{pll[board.device.family]} ") == 1


def _text(content):
    return content.decode() if isinstance(content, bytes) else content


def test_an_unknown_board_is_one_sentence():
    with pytest.raises(ValueError, match=r"^board 'quux' is unknown; there are: ulx3s-85f, "):
        find_board("quux")


def test_a_missing_package_is_one_sentence():
    from dataclasses import replace

    board = replace(find_board("icebreaker"), platform="amaranth_nothing.quux:Platform")
    with pytest.raises(SynthesisError, match=r"^amaranth-boards is not installed; .*'celosia.boards,synth.'"):
        board.load_platform()
