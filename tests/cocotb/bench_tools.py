"""What the benches share: settings, clock, random values, and streams with stalls. Runs inside the simulator."""

import json
import os
import random
from collections.abc import Callable, Iterable
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, RisingEdge, Timer


def settings() -> Any:
    """Return what the test handed to the bench."""
    return json.loads(os.environ["CELOSIA_BENCH"])


def start_clock(dut: Any) -> None:
    """Start the clock; each cycle takes 10 ns."""
    Clock(dut.clk, 10, "ns").start()


async def beat(dut: Any) -> None:
    """Wait for the clock edge, and until the outputs show what came of it."""
    await RisingEdge(dut.clk)
    await Timer(1, "ns")


async def reset(dut: Any) -> None:
    """Hold the reset for two cycles."""
    dut.rst.value = 1
    await beat(dut)
    await beat(dut)
    dut.rst.value = 0


def within(rng: random.Random, bounds: tuple[int, int]) -> int:
    """Return a number from low to high: half of the time 0, ±1 or an end."""
    low, high = bounds
    if rng.random() < 0.5:
        return min(max(rng.choice((low, low + 1, -1, 0, 1, high - 1, high)), low), high)
    return rng.randint(low, high)


class Source:
    """Offers payloads on a stream; in a share of the cycles it begins no offer. An offer stays until it is taken."""

    def __init__(self, dut: Any, name: str, stalls: Callable[[], bool]) -> None:
        self._clk, self._stalls = dut.clk, stalls
        self._valid, self._ready = getattr(dut, f"{name}__valid"), getattr(dut, f"{name}__ready")
        self._payload = getattr(dut, f"{name}__payload")
        self._valid.value = 0
        self.left: list[int] = []
        cocotb.start_soon(self._drive())

    def send(self, payloads: Iterable[int]) -> None:
        """Queue payloads."""
        self.left.extend(payloads)

    async def _drive(self) -> None:
        offered = False
        while True:
            stalls = self._stalls()  # drawn in every cycle, needed or not
            offered = offered or (bool(self.left) and not stalls)
            self._valid.value = int(offered)
            if offered:
                self._payload.value = self.left[0]
            await FallingEdge(self._clk)
            taken = offered and bool(self._ready.value)
            await RisingEdge(self._clk)
            if taken:
                del self.left[0]
                offered = False


class Sink:
    """Takes payloads from a stream, stalls at random, and watches that an offer stays as it is until it is taken."""

    def __init__(self, dut: Any, name: str, stalls: Callable[[], bool]) -> None:
        self._clk, self._stalls, self._name = dut.clk, stalls, name
        self._valid, self._ready = getattr(dut, f"{name}__valid"), getattr(dut, f"{name}__ready")
        self._payload = getattr(dut, f"{name}__payload")
        self.received: list[int] = []
        cocotb.start_soon(self._take())

    async def _take(self) -> None:
        held: int | None = None
        while True:
            ready = not self._stalls()
            self._ready.value = int(ready)
            await FallingEdge(self._clk)
            valid = bool(self._valid.value)
            payload = int(self._payload.value) if valid else None
            assert held is None or payload == held, f"{self._name}: {held} was offered and not taken, now {payload}"
            if valid and ready:
                assert payload is not None
                self.received.append(payload)
            held = payload if valid and not ready else None
            await RisingEdge(self._clk)
