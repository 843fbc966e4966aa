"""A serial line in simulation: an accelerator with its UART, and another UART at the host's end."""

from typing import Any

from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from celosia.hw.config import AcceleratorConfig
from celosia.hw.link.table import find_link
from celosia.hw.link.uart import UartReceiver, UartTransmitter
from celosia.hw.top import LinkedAccelerator


class SerialLine(wiring.Component):
    """Bytes at the host's end of a serial line, which carries them bit by bit to an accelerator and back.

    A byte that arrives damaged at the host's end is gone, as it would be on a host.

    Parameters
    ----------
    config : AcceleratorConfig
    clock_hz, baud : float
        Of the accelerator; see `celosia.hw.link.uart.BaudRate`.

    Attributes
    ----------
    i, o : stream of 8 bits
        To and from the accelerator. `o` has to be taken within ten bits.
    """

    i: stream.Interface
    o: stream.Interface

    def __init__(self, config: AcceleratorConfig, *, clock_hz: float, baud: float) -> None:
        self.accelerator = LinkedAccelerator(config, find_link("uart").build(config, clock_hz=clock_hz, baud=baud))
        self._clock_hz, self._baud = clock_hz, baud
        super().__init__({"i": In(stream.Signature(8)), "o": Out(stream.Signature(8))})

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002
        """Return the accelerator with the host's UART in front of it."""
        m = Module()
        accelerator: Any = self.accelerator  # its ports are those of its link
        m.submodules.accelerator = accelerator
        m.submodules.transmitter = transmitter = UartTransmitter(self._clock_hz, self._baud)
        m.submodules.receiver = receiver = UartReceiver(self._clock_hz, self._baud)
        wiring.connect(m, wiring.flipped(self.i), transmitter.i)
        m.d.comb += [
            accelerator.rx.eq(transmitter.tx),
            receiver.rx.eq(accelerator.tx),
            self.o.valid.eq(receiver.o.valid),
            self.o.payload.eq(receiver.o.payload.data),
            receiver.o.ready.eq(self.o.ready),
        ]
        return m
