"""What every simulator backend offers: whole buffers in, whole buffers out, no Python per cycle."""

import abc
import enum
import types
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from celosia.sim.rtl.errors import SimulationError
from celosia.sim.rtl.gates import stall_threshold
from celosia.sim.rtl.ports import Ports, SignalPort, StreamPort

__all__ = ["Simulator", "StopReason", "Words"]

#: Payloads of a stream: uint32, shape (payloads, words per payload), little endian.
Words = NDArray[np.uint32]


class StopReason(enum.IntEnum):
    """Why `Simulator.run` returned."""

    LIMIT = 0  #: ``max_cycles`` have passed
    RECEIVED = 1  #: every sink holds as many payloads as expected
    SENT = 2  #: every source's payloads have been accepted
    SIGNAL = 4  #: the named output was 1 in the last cycle


class Simulator(abc.ABC):
    """One running component.

    Every cycle: sources offer a payload or keep the offered one, sinks show their ready, the outputs settle, transfers
    and the watched signal are sampled, the clock rises. A source begins to offer in the first cycle in which its gate
    is open and keeps valid up until ready; a sink's ready is its gate (see `celosia.sim.rtl.gates`). Without `stall`
    every gate is always open. Sinks never fill up: payloads beyond the expected ones are kept too.

    A plain input keeps its value from one `set` to the next; before, it is 0 (its ``init`` under Amaranth's simulator).
    """

    def __init__(self, ports: Ports) -> None:
        self.ports = ports

    # -- streams --

    def send(self, port: str, payloads: ArrayLike) -> None:
        """Queues payloads on a source, behind those not accepted yet.

        Parameters
        ----------
        port : str
            Flattened name of the stream, such as ``i_weights``.
        payloads : array_like of int, shape (payloads, words) or (payloads,)
            32-bit words, little endian; one dimension will do for payloads of up to 32 bits, where negative numbers are
            taken modulo 2**32. Bits beyond the payload's width are ignored. A C-contiguous uint32 array is not copied
            and must not be changed before it is accepted.

        Raises
        ------
        SimulationError
            No such source, or the shape does not fit its payload.
        """
        index = self.ports.stream(port)
        stream = self.ports.streams[index]
        if not stream.source:
            raise SimulationError(f"stream {port!r} is a sink (the component sends it); use expect and receive")
        words = _as_words(stream, payloads)
        if len(words):
            self._send(index, words)

    def expect(self, port: str, count: int) -> None:
        """Lets ``run(until="received")`` wait for this many payloads beyond those received so far."""
        self._expect(self._sink(port), count)

    def receive(self, port: str, count: int | None = None) -> Words:
        """Takes payloads that a sink has received, oldest first.

        Parameters
        ----------
        port : str
            Flattened name of the stream.
        count : int, optional
            Payloads to take; all that are there if None.

        Returns
        -------
        ndarray of uint32, shape (payloads, words)
            A copy.

        Raises
        ------
        SimulationError
            No such sink, or it holds fewer than ``count``.
        """
        index = self._sink(port)
        held = self._received(index)
        wanted = held if count is None else count
        if not 0 <= wanted <= held:
            raise SimulationError(
                f"stream {port!r} holds {held} payloads at cycle {self.cycle}, {wanted} were asked for"
            )
        return self._receive(index, wanted)

    def received(self, port: str) -> int:
        """Payloads that a sink holds and `receive` has not taken yet."""
        return self._received(self._sink(port))

    def unsent(self, port: str) -> int:
        """Payloads of a source that have not been accepted yet."""
        return self._unsent(self.ports.stream(port))

    def stall(self, port: str, probability: float, seed: int = 0) -> None:
        """Stalls a stream in a share of its cycles, from the next cycle on.

        Parameters
        ----------
        port : str
            Flattened name of the stream.
        probability : float
            0 to 1; 0 never stalls.
        seed : int
            0 to 2**64 - 1. Ports with the same seed and probability stall in the same cycles.
        """
        if not 0 <= seed < 2**64:
            raise SimulationError(f"stall seed is {seed}, must be from 0 to 2**64 - 1")
        self._stall(self.ports.stream(port), stall_threshold(probability), seed)

    # -- plain ports --

    def set(self, name: str, value: int) -> None:
        """Sets an input, to be seen from the next cycle on; negative values are taken modulo 2**width."""
        index = self.ports.signal(name)
        port = self.ports.signals[index]
        if not port.driven:
            raise SimulationError(f"port {name!r} is an output of the component; it cannot be set")
        if not -(1 << (port.width - 1)) <= value < 1 << port.width:
            raise SimulationError(f"value {value} does not fit port {name!r} of {port.width} bits")
        self._set(index, value & ((1 << port.width) - 1))

    def get(self, name: str) -> int:
        """Value of a plain port as the next clock edge will see it; signed ports give signed values."""
        index = self.ports.signal(name)
        return _as_int(self.ports.signals[index], self._get(index))

    # -- time --

    @property
    @abc.abstractmethod
    def cycle(self) -> int:
        """Cycles since the start or the last reset; the number of the cycle that comes next."""

    def run(self, max_cycles: int, until: str | None = None) -> StopReason:
        """Runs clock cycles.

        Parameters
        ----------
        max_cycles : int
            Cycles after which it stops in any case.
        until : str, optional
            ``"received"``: every sink holds the payloads it expects. ``"sent"``: every source's payloads are accepted.
            Any other name: the 1-bit output of that name was 1, that cycle included. The first two return at once when
            there is nothing to wait for.

        Returns
        -------
        StopReason
            `LIMIT` when ``max_cycles`` came first; see `cycle` for the time spent.
        """
        if max_cycles < 0:
            raise SimulationError(f"max_cycles is {max_cycles}, must be 0 or more")
        if until is None:
            return self._run(max_cycles, StopReason.LIMIT, -1)
        if until in ("received", "sent"):
            return self._run(max_cycles, StopReason[until.upper()], -1)
        index = self.ports.signal(until)
        if self.ports.signals[index].width != 1:
            raise SimulationError(
                f"run until {until!r}: the port has {self.ports.signals[index].width} bits, must be 1"
            )
        return self._run(max_cycles, StopReason.SIGNAL, index)

    @abc.abstractmethod
    def reset(self) -> None:
        """One clock edge in reset with idle streams; then cycle 0.

        Queued, received and expected payloads are dropped. Stall settings, plain inputs, memories and reset-less
        registers keep what they hold.
        """

    @abc.abstractmethod
    def trace(self, path: str, start: int = 0, stop: int | None = None) -> None:
        """Writes a waveform of the cycles from ``start`` up to but not including ``stop`` (None: until `close`)."""

    @abc.abstractmethod
    def close(self) -> None:
        """Ends the simulation and completes the waveform file; nothing else may be called afterwards."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, where: types.TracebackType | None
    ) -> None:
        self.close()

    def _sink(self, port: str) -> int:
        index = self.ports.stream(port)
        if self.ports.streams[index].source:
            raise SimulationError(f"stream {port!r} is a source (the component receives it); use send")
        return index

    @abc.abstractmethod
    def _send(self, index: int, words: Words) -> None: ...
    @abc.abstractmethod
    def _expect(self, index: int, count: int) -> None: ...
    @abc.abstractmethod
    def _receive(self, index: int, count: int) -> Words: ...
    @abc.abstractmethod
    def _received(self, index: int) -> int: ...
    @abc.abstractmethod
    def _unsent(self, index: int) -> int: ...
    @abc.abstractmethod
    def _stall(self, index: int, threshold: int, seed: int) -> None: ...
    @abc.abstractmethod
    def _set(self, index: int, value: int) -> None: ...
    @abc.abstractmethod
    def _get(self, index: int) -> int: ...
    @abc.abstractmethod
    def _run(self, max_cycles: int, until: StopReason, signal: int) -> StopReason: ...


def _as_words(stream: StreamPort, payloads: ArrayLike) -> Words:
    array = np.asarray(payloads)
    if array.dtype != np.uint32:
        if array.size and array.dtype.kind not in "iub":
            raise SimulationError(f"payloads of stream {stream.name!r} are {array.dtype}, must be integers")
        array = array.astype(np.int64).astype(np.uint32) if array.dtype.kind == "i" else array.astype(np.uint32)
    if array.ndim == 1 and stream.words == 1:
        array = array.reshape(-1, 1)
    if array.ndim != 2 or array.shape[1] != stream.words:
        raise SimulationError(
            f"payloads of stream {stream.name!r} have shape {array.shape}, must be (payloads, {stream.words}): "
            f"{stream.width} bits are {stream.words} words of 32 bits"
        )
    return np.ascontiguousarray(array)


def _as_int(port: SignalPort, value: int) -> int:
    if port.signed and value >> (port.width - 1):
        return value - (1 << port.width)
    return value
