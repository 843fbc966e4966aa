"""What the device says about itself: its identity, and its state and counters, as words to be read like a memory."""

from functools import reduce
from operator import or_
from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from celosia.hw.config import AcceleratorConfig
from celosia.hw.pipeline import delay
from celosia.hw.protocol import identity


class Identity(wiring.Component):
    """The answer to IDENTIFY, a ROM of `words` words. `data` follows `address` by LATENCY cycles; a word per cycle."""

    LATENCY = 4

    address: Signal
    data: Signal

    def __init__(self, config: AcceleratorConfig) -> None:
        text = identity(config)
        self._init = [int.from_bytes(text[at : at + 4], "little") for at in range(0, len(text), 4)]
        self.words = len(self._init)
        super().__init__({"address": In(range(self.words)), "data": Out(32)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        rom: Any = Memory(shape=32, depth=self.words, init=self._init)
        m.submodules.rom = rom
        read = rom.read_port()
        m.d.comb += read.addr.eq(delay(m, self.address, self.LATENCY - 2, "address"))
        m.d.sync += self.data.eq(read.data)
        return m


class Report(wiring.Component):
    """The answer to STATUS, `words` words. `data` follows `address` by LATENCY cycles; a word per cycle.

    Attributes
    ----------
    busy : Signal(1), in
    error : Signal(8), in
    saturated : Signal(1), in
    fresh : Signal(1), in
    failure : Signal(8), in
        StatusCode, below 16.
    total_cycles, cause_cycles : Signal, in
        Counters of `counter_width` bits. They are not held while they are read: exact when no run is in progress.
    address : Signal, in
    data : Signal(32), out
    """

    LATENCY = 4

    busy: Signal
    error: Signal
    saturated: Signal
    fresh: Signal
    failure: Signal
    total_cycles: Signal
    cause_cycles: data.View
    address: Signal
    data: Signal

    def __init__(self, config: AcceleratorConfig) -> None:
        self._causes = len(config.causes)
        self.words = 1 + 2 * (1 + self._causes)
        super().__init__(
            {
                "busy": In(1),
                "error": In(8),
                "saturated": In(1),
                "fresh": In(1),
                "failure": In(8),
                "total_cycles": In(config.counter_width),
                "cause_cycles": In(data.ArrayLayout(unsigned(config.counter_width), self._causes)),
                "address": In(range(self.words)),
                "data": Out(32),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        counters = [self.total_cycles, *(self.cause_cycles[index] for index in range(self._causes))]
        chosen = Signal(len(counters))  # one hot: gates and ORs take a third of the LUTs of a multiplexer
        counter = Signal(64, reset_less=True)
        last_run = Cat(self.saturated, self.fresh, Const(0, 2), self.failure[:4])
        head = Cat(self.busy, Const(0, 7), self.error, Const(self._causes, 8), last_run)
        address = delay(m, self.address, 1, "address")
        is_head = delay(m, address == 0, 2, "is_head")
        is_high = delay(m, ~address[0], 2, "is_high")
        m.d.sync += [
            *(chosen[index].eq((address - 1) >> 1 == index) for index in range(len(counters))),
            counter.eq(
                reduce(or_, (value & pick.replicate(len(value)) for value, pick in zip(counters, chosen, strict=True)))
            ),
            self.data.eq(Mux(is_head, head, Mux(is_high, counter[32:], counter[:32]))),
        ]
        return m
