"""What a design sees when it is measured alone: an FPGA, and hardly any pins."""

from typing import Any

from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from celosia.boards.devices import Device


class OutOfContextPlatform:
    """Stands for a platform where only the part matters.

    It has the attributes by which components choose what they instantiate, spelt as Amaranth's own platforms do.

    Parameters
    ----------
    device : Device
        The part.
    """

    def __init__(self, device: Device) -> None:
        self.family = {"ecp5": "ecp5", "ice40": "iCE40"}[device.family]
        self.device = device.part


class Scan(wiring.Component):
    """Wraps a component so that it needs one input and one output pin, and no path through it starts or ends at a pin.

    Inputs come from one shift register; each output is registered, and XORed into another. For families whose place and
    route insists on a pin for every port.

    Parameters
    ----------
    component : wiring.Component
        The component to measure.
    """

    scan_in: Signal
    scan_out: Signal

    def __init__(self, component: wiring.Component) -> None:
        self._component = component
        super().__init__({"scan_in": In(1), "scan_out": Out(1)})

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002
        """Return the component between two scan chains."""
        m = Module()
        m.submodules.inside = self._component  # pyright: ignore[reportArgumentType]
        inputs: list[Value] = []
        outputs: list[Value] = []
        for _path, member, value in self._component.signature.flatten(self._component):
            (inputs if member.flow is In else outputs).append(_bits(value))
        sources, sinks = Cat(inputs), Cat(outputs)
        chain = Signal(len(sources) + 1, reset_less=True)
        results = Signal(len(sinks), reset_less=True)
        fold = Signal(len(sinks) + 1, reset_less=True)
        m.d.sync += [
            chain.eq(Cat(self.scan_in, chain)),
            results.eq(sinks),
            fold.eq(Cat(self.scan_in, fold[:-1] ^ results)),
        ]
        m.d.comb += [sources.eq(chain), self.scan_out.eq(fold[-1])]
        return m


def _bits(value: Any) -> Value:
    return value.as_value() if isinstance(value, data.View) else Value.cast(value)
