"""The links' benches: the other side of each is someone else's implementation of the standard."""

from collections.abc import Callable
from typing import Any

import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from celosia.hw.config import AcceleratorConfig
from celosia.hw.core_port import HOST_READ_LATENCY
from celosia.hw.link.commands import CommandProcessor
from celosia.hw.link.packets import link_stream
from celosia.hw.link.table import find_link
from celosia.hw.systolic.config import SystolicConfig
from celosia.hw.top import LinkedAccelerator

Bench = Callable[..., None]

DEVICE = {
    "engine": {"rows": 2, "cols": 2, "accumulator_rows": 8},
    "program_depth": 32,
    "weight_depth": 32,
    "parameter_depth": 32,
    "input_depth": 16,
    "activation_depth": 16,
    "output_depth": 16,
    "packet_words": 64,
}


def device() -> AcceleratorConfig:
    return AcceleratorConfig(**{**DEVICE, "engine": SystolicConfig(**DEVICE["engine"])})


class Loop(wiring.Component):
    """A link whose requests come back as answers."""

    def __init__(self, link: Any) -> None:
        self.link = link
        members = link.signature.members.items()
        super().__init__({name: member for name, member in members if name not in ("requests", "answers")})

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        m.submodules.link = link = self.link
        m.submodules.queue = queue = SyncFIFOBuffered(width=34, depth=16)
        wiring.connect(m, link.requests, queue.w_stream)
        wiring.connect(m, queue.r_stream, link.answers)
        for name, member in self.signature.members.items():
            mine, its = getattr(self, name), getattr(link, name)
            m.d.comb += its.eq(mine) if member.flow is In else mine.eq(its)
        return m


@pytest.mark.parametrize(
    ("clock_hz", "baud"),
    [
        (48e6, 3e6),
        pytest.param(50e6, 3e6, marks=pytest.mark.slow),
        pytest.param(25e6, 1e6, marks=pytest.mark.slow),
        pytest.param(12e6, 115200, marks=pytest.mark.slow),
        pytest.param(12e6, 3e6, marks=pytest.mark.slow),
    ],
)
def test_uart(clock_hz: float, baud: float, run_bench: Bench) -> None:
    link = find_link("uart").build(device(), clock_hz=clock_hz, baud=baud)
    settings = {"clock_hz": clock_hz, "baud": baud, "long": clock_hz / baud < 20}
    run_bench(Loop(link), "uart", "bench_uart", settings)


class Hollow(wiring.Component):
    """An accelerator that keeps its inputs and cannot run: all that a conversation needs, and quickly compiled."""

    def __init__(self, config: AcceleratorConfig) -> None:
        self.config = config
        super().__init__({"i": In(link_stream()), "o": Out(link_stream())})

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        m.submodules.commands = commands = CommandProcessor(self.config)
        spec = self.config.memory("inputs")
        m.submodules.inputs = memory = Memory(shape=spec.width, depth=spec.depth, init=[])
        write, read = memory.write_port(), memory.read_port()
        core = commands.core
        word = read.data
        for _ in range(HOST_READ_LATENCY - 1):
            later = Signal(spec.width)
            m.d.sync += later.eq(word)
            word = later
        m.d.comb += [
            read.addr.eq(core.host_address),
            write.addr.eq(core.host_address),
            write.data.eq(core.host_write_data),
            write.en.eq(core.host_write_enable & (core.host_memory == spec.id)),
            core.host_read_data.eq(word),
            core.ready.eq(1),
        ]
        wiring.connect(m, wiring.flipped(self.i), commands.i)
        wiring.connect(m, commands.o, wiring.flipped(self.o))
        return m


def linked(name: str, **parameters: Any) -> LinkedAccelerator:
    component = LinkedAccelerator(device(), find_link(name).build(device(), **parameters))
    component.accelerator = Hollow(device())
    return component


@pytest.mark.parametrize("requests", [8, pytest.param(40, marks=pytest.mark.slow)])
def test_axi_stream(requests: int, run_bench: Bench) -> None:
    run_bench(linked("axi-stream"), "axi_stream", "bench_axi_stream", {"device": DEVICE, "requests": requests})


@pytest.mark.parametrize("requests", [3, pytest.param(30, marks=pytest.mark.slow)])
def test_axi_lite(requests: int, run_bench: Bench) -> None:
    run_bench(linked("axi-lite"), "axi_lite", "bench_axi_lite", {"device": DEVICE, "requests": requests})


@pytest.mark.parametrize("requests", [3, pytest.param(30, marks=pytest.mark.slow)])
def test_wishbone(requests: int, run_bench: Bench) -> None:
    run_bench(linked("wishbone"), "wishbone", "bench_wishbone", {"device": DEVICE, "requests": requests})
