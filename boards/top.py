"""The design on a board: clock, accelerator behind a serial port, and three lights."""

import math
from typing import Any

from amaranth.build import Attrs, Pins, Resource, Subsignal
from amaranth.hdl import ClockDomain, Elaboratable, Module, Signal, Value
from amaranth.lib import io, wiring

from celosia.boards.board import Board
from celosia.boards.clock_generator import ClockGenerator
from celosia.boards.clocks import ClockPlan
from celosia.hw.config import AcceleratorConfig
from celosia.hw.link.skid import StreamRegister
from celosia.hw.link.table import find_link
from celosia.hw.top import Accelerator

HEARTBEAT_SECONDS = 1.0


class BoardTop(Elaboratable):
    """An accelerator on a board, to be built for the board's platform.

    Lights, where the board has them: `alive` blinks about once per second, `busy` is on during a run, and `error` from
    the first error until a RESET.

    Parameters
    ----------
    board : Board
    config : AcceleratorConfig
    plan : ClockPlan
        Of the accelerator's clock.
    baud : int
        Symbols per second of the serial port.
    """

    def __init__(self, board: Board, config: AcceleratorConfig, plan: ClockPlan, baud: int) -> None:
        self.board, self.config, self.plan, self.baud = board, config, plan, baud

    def elaborate(self, platform: Any) -> Module:
        """Return the design with its buffers."""
        m = Module()
        m.domains.sync = ClockDomain("sync")
        m.submodules.clock = ClockGenerator(self.board, self.plan)
        clock_hz = float(self.plan.output_hz)
        link = find_link("uart").build(self.config, clock_hz=clock_hz, baud=self.baud)
        m.submodules.link = link
        m.submodules.accelerator = accelerator = Accelerator(self.config)
        if self.board.device.family == "ice40":  # where every register counts, and the clock is slow
            wiring.connect(m, link.requests, accelerator.i)
            wiring.connect(m, accelerator.o, link.answers)
        else:  # A block RAM is on the way out, and a CRC on the way in: the link's logic is not added.
            _connect(m, "requests", link.requests, accelerator.i)
            _connect(m, "answers", accelerator.o, link.answers)
        port = self._serial_port(platform)
        m.submodules.rx = rx = io.Buffer(io.Direction.Input, port.rx)
        m.submodules.tx = tx = io.Buffer(io.Direction.Output, port.tx)
        m.d.comb += [link.rx.eq(rx.i), tx.o.eq(link.tx)]
        lights: dict[str, Value] = {"busy": accelerator.busy, "error": accelerator.error}
        if "alive" in self.board.leds:
            lights["alive"] = _heartbeat(m, clock_hz)
        ports: dict[tuple[str, int], Any] = {}
        for name, (resource, number, *part) in self.board.leds.items():
            if (resource, number) not in ports:
                ports[resource, number] = platform.request(resource, number, dir="-")
            port = ports[resource, number]
            m.submodules[name] = light = io.Buffer(io.Direction.Output, getattr(port, part[0]) if part else port)
            m.d.comb += light.o.eq(lights[name])
        return m

    def _serial_port(self, platform: Any) -> Any:
        header = self.board.header
        if header is not None:
            parts = [
                Subsignal(name, Pins(pin, dir=direction, conn=header.connector, assert_width=1))
                for name, pin, direction in (("rx", header.rx, "i"), ("tx", header.tx, "o"))
            ]
            platform.add_resources([Resource("uart", 0, *parts, Attrs(**header.attributes))])
        return platform.request("uart", 0, dir="-")


def _connect(m: Module, name: str, source: Any, target: Any) -> None:
    """Connect two streams through a register that cuts every path."""
    payload = Value.cast(source.payload)
    m.submodules[name] = register = StreamRegister(len(payload))
    m.d.comb += [
        register.i.payload.eq(payload),
        register.i.valid.eq(source.valid),
        source.ready.eq(register.i.ready),
        Value.cast(target.payload).eq(register.o.payload),
        target.valid.eq(register.o.valid),
        register.o.ready.eq(target.ready),
    ]


def _heartbeat(m: Module, clock_hz: float) -> Value:
    """Blink with the power of two of cycles that is nearest to HEARTBEAT_SECONDS."""
    timer = Signal(max(round(math.log2(clock_hz * HEARTBEAT_SECONDS)), 1), reset_less=True)
    m.d.sync += timer.eq(timer + 1)
    return timer[-1]
