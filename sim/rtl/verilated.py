"""The Verilator backend: a compiled component behind `ctypes`."""

import ctypes
import weakref
from pathlib import Path

import numpy as np

from celosia.sim.rtl.errors import SimulationError
from celosia.sim.rtl.ports import Ports
from celosia.sim.rtl.simulator import Simulator, StopReason, Words

__all__ = ["VerilatedSimulator", "load_library"]

_NO_MEMORY = 8
_FOREVER = 2**64 - 1
# Cycles per call into the library: short enough for Ctrl-C to be answered, long enough to cost nothing.
_SLICE = 1 << 18


class _Stream(ctypes.Structure):
    """Same layout as ``celosia::Stream`` in ports.h."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("capacity", ctypes.c_uint64),
        ("count", ctypes.c_uint64),
        ("position", ctypes.c_uint64),
        ("target", ctypes.c_uint64),
        ("threshold", ctypes.c_uint64),
        ("seed", ctypes.c_uint64),
        ("valid", ctypes.c_uint64),
        ("ready", ctypes.c_uint64),
        ("held", ctypes.c_uint64),
    )


def load_library(path: Path) -> ctypes.CDLL:
    """The library with its functions declared."""
    library = ctypes.CDLL(str(path))
    handle, words = ctypes.c_void_p, ctypes.c_void_p
    for name, result, arguments in (
        ("create", handle, ()),
        ("destroy", None, (handle,)),
        ("streams", ctypes.POINTER(_Stream), (handle,)),
        ("cycle", ctypes.c_uint64, (handle,)),
        ("reset", None, (handle,)),
        ("settle", None, (handle,)),
        ("set", None, (handle, ctypes.c_int32, words)),
        ("get", None, (handle, ctypes.c_int32, words)),
        ("run", ctypes.c_uint32, (handle, ctypes.c_uint64, ctypes.c_uint32, ctypes.c_int32)),
        ("trace", ctypes.c_int32, (handle, ctypes.c_char_p, ctypes.c_uint64, ctypes.c_uint64)),
    ):
        function = getattr(library, f"celosia_{name}")
        function.restype, function.argtypes = result, arguments
    return library


class VerilatedSimulator(Simulator):
    """A component compiled by Verilator; see `Simulator`.

    Parameters
    ----------
    ports : Ports
        Ports of the component.
    library : Path
        From `celosia.sim.rtl.compiler.compile_library`.
    waves : {"", "vcd", "fst"}
        Waveform writer compiled into the library.
    """

    def __init__(self, ports: Ports, library: Path, *, waves: str = "") -> None:
        super().__init__(ports)
        self._waves = waves
        self._library = load_library(library)
        self._handle = self._library.celosia_create()
        self._streams = self._library.celosia_streams(self._handle)
        self._queued: dict[int, Words] = {}  # keeps the sources' buffers alive
        self._finalizer = weakref.finalize(self, self._library.celosia_destroy, self._handle)

    @property
    def cycle(self) -> int:
        """Cycles since the start or the last reset."""
        return self._library.celosia_cycle(self._handle)

    def reset(self) -> None:
        """One clock edge in reset; see `Simulator.reset`."""
        self._library.celosia_reset(self._handle)
        for index, port in enumerate(self.ports.streams):
            stream = self._streams[index]
            stream.count = stream.position = stream.target = 0
            if port.source:
                self._queued.pop(index, None)

    def trace(self, path: str, start: int = 0, stop: int | None = None) -> None:
        """Writes a waveform; see `Simulator.trace`."""
        if not self._waves:
            raise SimulationError('this simulator has no waveform writer; build it with waves="vcd"')
        if not self._library.celosia_trace(self._handle, str(path).encode(), start, _FOREVER if stop is None else stop):
            raise SimulationError(f"waveform file {path} cannot be written")

    def close(self) -> None:
        """Frees the model and completes the waveform file."""
        self._finalizer()

    def _send(self, index: int, words: Words) -> None:
        stream = self._streams[index]
        rest = self._queued.get(index)
        if rest is not None and stream.position < stream.count:
            words = np.concatenate([rest[stream.position :], words])
        self._queued[index] = words
        stream.data, stream.position, stream.count = words.ctypes.data, 0, len(words)

    def _expect(self, index: int, count: int) -> None:
        stream = self._streams[index]
        stream.target = stream.count + count

    def _received(self, index: int) -> int:
        stream = self._streams[index]
        return stream.count - stream.position

    def _unsent(self, index: int) -> int:
        stream = self._streams[index]
        return stream.count - stream.position

    def _receive(self, index: int, count: int) -> Words:
        stream = self._streams[index]
        words = self.ports.streams[index].words
        result = np.empty((count, words), np.uint32)
        if count:
            ctypes.memmove(result.ctypes.data, stream.data + 4 * words * stream.position, result.nbytes)
        stream.position += count
        if stream.position == stream.count:  # the buffer is used again from its beginning
            stream.target -= min(stream.target, stream.count)
            stream.count = stream.position = 0
        return result

    def _stall(self, index: int, threshold: int, seed: int) -> None:
        self._streams[index].threshold, self._streams[index].seed = threshold, seed

    def _set(self, index: int, value: int) -> None:
        size = 4 * self.ports.signals[index].words
        self._library.celosia_set(self._handle, index, value.to_bytes(size, "little"))

    def _get(self, index: int) -> int:
        buffer = ctypes.create_string_buffer(4 * self.ports.signals[index].words)
        self._library.celosia_settle(self._handle)
        self._library.celosia_get(self._handle, index, buffer)
        return int.from_bytes(buffer.raw, "little")

    def _run(self, max_cycles: int, until: StopReason, signal: int) -> StopReason:
        reason = int(StopReason.LIMIT)
        while reason == StopReason.LIMIT:
            slice_cycles = min(max_cycles, _SLICE)
            reason = self._library.celosia_run(self._handle, slice_cycles, until, signal)
            max_cycles -= slice_cycles
            if not max_cycles:
                break
        if reason == _NO_MEMORY:
            raise MemoryError(f"no memory for more received payloads at cycle {self.cycle}")
        return StopReason(reason)
