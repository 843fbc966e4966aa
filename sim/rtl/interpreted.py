"""The backend without a C++ compiler: Amaranth's own simulator behind the same interface, cycle for cycle."""

import contextlib
import os
import weakref
from collections.abc import Callable
from typing import Any, cast

import numpy as np
from amaranth.hdl import ClockDomain, Module, Value
from amaranth.lib import wiring
from amaranth.sim import Simulator as AmaranthSimulator

from celosia.hw.verilog import top_ports
from celosia.sim.rtl.errors import SimulationError
from celosia.sim.rtl.gates import gate_open
from celosia.sim.rtl.ports import StreamPort, find_ports
from celosia.sim.rtl.simulator import Simulator, StopReason, Words

__all__ = ["InterpretedSimulator"]


class _Stream:
    """State of one stream; the fields mean what they mean in ports.h."""

    def __init__(self, port: StreamPort, signals: dict[str, Value]) -> None:
        self.port = port
        self.payload = signals[f"{port.name}__payload"]
        self.valid_port = signals.get(f"{port.name}__valid")
        self.ready_port = signals.get(f"{port.name}__ready")
        self.threshold = self.seed = 0
        self.clear()

    def clear(self) -> None:
        self.words: list[int] = []
        self.position = 0
        self.received = self.target = 0
        self.valid = self.ready = self.held = False

    @property
    def pending(self) -> bool:
        """Keeps run() from stopping: payloads left to send, or to receive."""
        return self.position < len(self.words) if self.port.source else self.received < self.target

    def open(self, cycle: int) -> bool:
        return not self.threshold or gate_open(self.seed, self.threshold, cycle)

    def drive(self, ctx: Any, cycle: int) -> None:
        if not self.port.source:
            self.ready = self.ready_port is None or self.open(cycle)
            if self.ready_port is not None:
                ctx.set(self.ready_port, self.ready)
            return
        self.valid = self.held or (self.position < len(self.words) and self.open(cycle))
        if self.valid and not self.held:
            ctx.set(self.payload, self.words[self.position])
        if self.valid_port is not None:
            ctx.set(self.valid_port, self.valid)

    def capture(self, ctx: Any) -> None:
        if self.port.source:
            self.ready = self.ready_port is None or bool(ctx.get(self.ready_port))
            self.held = self.valid and not self.ready
            self.position += self.valid and self.ready
            return
        self.valid = self.valid_port is None or bool(ctx.get(self.valid_port))
        if self.valid and self.ready:
            self.words.append(ctx.get(self.payload))
            self.received += 1

    def idle(self, ctx: Any) -> None:
        driven = self.valid_port if self.port.source else self.ready_port
        if driven is not None:
            ctx.set(driven, 0)


class _Server:
    """Carries out one order per step of simulated time; time stands still in between.

    It knows nothing of the simulator's owner, so that an owner that is dropped without `close` can end it: a testbench
    still waiting when Python collects it is reported as an error.
    """

    def __init__(self, top: Module) -> None:
        self._order: Callable[[Any], Any] | None = None
        self._answer: Any = None
        self.simulator = AmaranthSimulator(top)
        self.simulator.add_testbench(self._serve)

    async def _serve(self, ctx: Any) -> None:
        while self._order is not None:
            self._answer = self._order(ctx)
            self._order = None
            await ctx.delay(1e-6)

    def do(self, order: Callable[[Any], Any]) -> Any:
        self._order = order
        self.simulator.advance()
        return self._answer

    def end(self) -> None:
        self.simulator.advance()


class InterpretedSimulator(Simulator):
    """A component under Amaranth's simulator; see `Simulator`. Some hundred times slower than Verilator.

    Parameters
    ----------
    component : wiring.Component
        Clocked by the ``sync`` domain only.
    """

    def __init__(self, component: wiring.Component) -> None:
        super().__init__(find_ports(component))
        self._signals = {name: Value.cast(value).as_unsigned() for name, (value, _) in top_ports(component).items()}
        self._inputs = {name: Value.cast(value) for name, (value, _) in top_ports(component).items()}
        self._streams = [_Stream(port, self._inputs) for port in self.ports.streams]
        self._cycle = 0
        self._clock = ClockDomain("sync")
        top = Module()
        top.domains += self._clock
        top.submodules.dut = cast(Any, component)
        self._clk, self._rst = self._clock.clk, self._clock.rst  # type: ignore[attr-defined]
        self._server = _Server(top)
        self._do = self._server.do
        self._waves = contextlib.ExitStack()
        self._finalizer = weakref.finalize(self, self._server.end)
        self._trace_stop: int | None = None

    @property
    def cycle(self) -> int:
        """Cycles since the start or the last reset."""
        return self._cycle

    def reset(self) -> None:
        """One clock edge in reset; see `Simulator.reset`."""

        def order(ctx: Any) -> None:
            for stream in self._streams:
                stream.idle(ctx)
                stream.clear()
            ctx.set(self._rst, 1)
            self._edge(ctx)
            ctx.set(self._rst, 0)

        self._do(order)
        self._cycle = 0

    def _edge(self, ctx: Any) -> None:
        ctx.set(self._clk, 1)
        ctx.set(self._clk, 0)

    def trace(self, path: str | os.PathLike[str], start: int = 0, stop: int | None = None) -> None:  # noqa: ARG002
        """Writes a VCD; Amaranth's writer begins before the first cycle, whatever ``start`` is."""
        if self._cycle:
            raise SimulationError(f"Amaranth's simulator writes waveforms from cycle 0 on; this is cycle {self._cycle}")
        self._waves.enter_context(self._server.simulator.write_vcd(os.fspath(path)))
        self._trace_stop = stop

    def close(self) -> None:
        """Completes the waveform file."""
        self._finalizer()
        self._waves.close()

    def _send(self, index: int, words: Words) -> None:
        stream = self._streams[index]
        del stream.words[: stream.position]
        stream.position = 0
        stream.words += [int.from_bytes(row.tobytes(), "little") for row in words.astype("<u4")]

    def _expect(self, index: int, count: int) -> None:
        stream = self._streams[index]
        stream.target = stream.received + count

    def _received(self, index: int) -> int:
        return len(self._streams[index].words)

    def _unsent(self, index: int) -> int:
        stream = self._streams[index]
        return len(stream.words) - stream.position

    def _receive(self, index: int, count: int) -> Words:
        stream = self._streams[index]
        size = 4 * stream.port.words
        mask = (1 << stream.port.width) - 1
        data = b"".join((int(word) & mask).to_bytes(size, "little") for word in stream.words[:count])
        del stream.words[:count]
        return np.frombuffer(data, "<u4").reshape(count, stream.port.words).astype(np.uint32)

    def _stall(self, index: int, threshold: int, seed: int) -> None:
        self._streams[index].threshold, self._streams[index].seed = threshold, seed

    def _set(self, index: int, value: int) -> None:
        self._do(lambda ctx: ctx.set(self._inputs[self.ports.signals[index].name], value))

    def _get(self, index: int) -> int:
        def order(ctx: Any) -> int:
            self._drive(ctx)
            return int(ctx.get(self._signals[self.ports.signals[index].name]))

        return self._do(order)

    def _drive(self, ctx: Any) -> None:
        for stream in self._streams:
            stream.drive(ctx, self._cycle)

    def _step(self, ctx: Any, watch: Value | None) -> bool:
        self._drive(ctx)
        signalled = watch is not None and bool(ctx.get(watch))
        for stream in self._streams:
            stream.capture(ctx)
        self._edge(ctx)
        return signalled

    def _run(self, max_cycles: int, until: StopReason, signal: int) -> StopReason:
        watch = self._signals[self.ports.signals[signal].name] if signal >= 0 else None
        waited = [stream for stream in self._streams if stream.port.source == (until == StopReason.SENT)]
        streams_decide = until in (StopReason.SENT, StopReason.RECEIVED)
        if streams_decide and not any(stream.pending for stream in waited):
            return until
        for _ in range(max_cycles):
            signalled = self._do(lambda ctx: self._step(ctx, watch))
            self._cycle += 1
            if self._trace_stop is not None and self._cycle >= self._trace_stop:
                self._waves.close()
            if signalled or (streams_decide and not any(stream.pending for stream in waited)):
                return until
        return StopReason.LIMIT
