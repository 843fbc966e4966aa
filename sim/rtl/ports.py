"""What the outside of a component looks like to a simulator: streams, signals, clock and reset."""

from dataclasses import dataclass
from typing import Any

from amaranth.hdl._ir import PortDirection
from amaranth.lib import stream, wiring

from celosia.hw.verilog import top_ports
from celosia.sim.rtl.errors import SimulationError

__all__ = ["Ports", "SignalPort", "StreamPort", "find_ports"]


@dataclass(frozen=True, kw_only=True)
class StreamPort:
    """One `stream.Signature` port.

    ``source`` is seen from the bench: True when the bench sends words into the component. ``has_valid`` and
    ``has_ready`` are False for ``always_valid`` and ``always_ready`` streams, which have no such port.
    """

    name: str
    width: int
    source: bool
    has_valid: bool = True
    has_ready: bool = True

    @property
    def words(self) -> int:
        """32-bit words per payload, little endian."""
        return (self.width + 31) // 32


@dataclass(frozen=True, kw_only=True)
class SignalPort:
    """One plain port; ``driven`` is True when it is an input of the component."""

    name: str
    width: int
    driven: bool
    signed: bool = False

    @property
    def words(self) -> int:
        """32-bit words that hold the value, little endian."""
        return (self.width + 31) // 32


@dataclass(frozen=True, kw_only=True)
class Ports:
    """All ports of a component, in the order of its signature."""

    streams: tuple[StreamPort, ...]
    signals: tuple[SignalPort, ...]

    def stream(self, name: str) -> int:
        """Index of a stream; `SimulationError` lists the streams when there is no such one."""
        return _index(name, self.streams, "stream")

    def signal(self, name: str) -> int:
        """Index of a plain port; `SimulationError` lists them when there is no such one."""
        return _index(name, self.signals, "plain port")


def _index(name: str, ports: tuple[Any, ...], kind: str) -> int:
    for index, port in enumerate(ports):
        if port.name == name:
            return index
    known = ", ".join(port.name for port in ports) or "none"
    raise SimulationError(f"the component has no {kind} {name!r}; it has: {known}")


def find_ports(component: wiring.Component) -> Ports:
    """Ports of ``component``.

    Raises
    ------
    SimulationError
        A stream carries no payload bits.
    """
    plain = top_ports(component)
    streams: list[StreamPort] = []
    for name, payload_flow in _find_streams(component.signature, ""):
        if f"{name}__payload" not in plain:
            raise SimulationError(f"stream {name!r} has a payload of 0 bits; at least 1 bit is needed to simulate it")
        payload, _direction = plain.pop(f"{name}__payload")
        has_valid = plain.pop(f"{name}__valid", None) is not None
        has_ready = plain.pop(f"{name}__ready", None) is not None
        source = payload_flow == wiring.In
        streams.append(
            StreamPort(name=name, width=len(payload), source=source, has_valid=has_valid, has_ready=has_ready)
        )
    signals = tuple(
        SignalPort(name=name, width=len(value), driven=direction == PortDirection.Input, signed=value.shape().signed)
        for name, (value, direction) in plain.items()
    )
    return Ports(streams=tuple(streams), signals=signals)


def _find_streams(signature: Any, prefix: str) -> list[tuple[str, wiring.Flow]]:
    """Streams anywhere in a signature tree: (flattened name, flow of the payload)."""
    found: list[tuple[str, wiring.Flow]] = []
    for name, member in signature.members.items():
        if not member.is_signature:
            continue
        for path in _array_paths(f"{prefix}{name}", member.dimensions):
            inner = member.signature
            plain = inner.flip() if isinstance(inner, wiring.FlippedSignature) else inner
            if isinstance(plain, stream.Signature):
                found.append((path, inner.members["payload"].flow))
            else:
                found += _find_streams(inner, f"{path}__")
    return found


def _array_paths(name: str, dimensions: tuple[int, ...]) -> list[str]:
    paths = [name]
    for size in dimensions:
        paths = [f"{path}__{index}" for path in paths for index in range(size)]
    return paths
