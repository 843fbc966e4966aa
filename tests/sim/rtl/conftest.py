"""Small stream components that the simulator tests share, as fixtures."""

import types

import pytest
from amaranth.hdl import Cat, Module, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out


class Fifo(wiring.Component):
    """First in, first out, with its level as a plain output."""

    def __init__(self, shape, depth):
        self._shape, self._depth = shape, depth
        super().__init__(
            {"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape)), "level": Out(range(depth + 1))}
        )

    def elaborate(self, _platform):
        m = Module()
        m.submodules.store = store = Memory(shape=self._shape, depth=self._depth, init=[])
        write, read = store.write_port(), store.read_port(domain="comb")
        put, take = Signal(), Signal()
        head, tail = Signal(range(self._depth)), Signal(range(self._depth))
        m.d.comb += [
            put.eq(self.i.valid & self.i.ready),
            take.eq(self.o.valid & self.o.ready),
            self.i.ready.eq(self.level != self._depth),
            self.o.valid.eq(self.level != 0),
            self.o.payload.eq(read.data),
            *(write.en.eq(put), write.addr.eq(tail), write.data.eq(self.i.payload), read.addr.eq(head)),
        ]
        with m.If(put):
            m.d.sync += tail.eq(tail + 1)
        with m.If(take):
            m.d.sync += head.eq(head + 1)
        m.d.sync += self.level.eq(self.level + put - take)
        return m


class Widen(wiring.Component):
    """Packs four payloads into one, first one lowest; ready depends on ready combinationally."""

    def __init__(self, width):
        self._width = width
        super().__init__({"i": In(stream.Signature(width)), "o": Out(stream.Signature(4 * width))})

    def elaborate(self, _platform):
        m = Module()
        parts = [Signal(self._width, name=f"part_{index}") for index in range(3)]
        count = Signal(2)
        m.d.comb += [
            self.o.payload.eq(Cat(*parts, self.i.payload)),
            self.o.valid.eq(self.i.valid & (count == 3)),
            self.i.ready.eq((count != 3) | self.o.ready),
        ]
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += count.eq(count + 1)
            with m.Switch(count):
                for index, part in enumerate(parts):
                    with m.Case(index):
                        m.d.sync += part.eq(self.i.payload)
        return m


class Adders(wiring.Component):
    """Sum of eight signed bytes, one cycle later."""

    def __init__(self):
        super().__init__(
            {"i": In(stream.Signature(data.ArrayLayout(signed(8), 8))), "o": Out(stream.Signature(signed(11)))}
        )

    def elaborate(self, _platform):
        m = Module()
        terms = [self.i.payload[index] for index in range(8)]
        while len(terms) > 1:
            terms = [terms[index] + terms[index + 1] for index in range(0, len(terms), 2)]
        m.d.comb += self.i.ready.eq(~self.o.valid | self.o.ready)
        with m.If(self.i.ready):
            m.d.sync += [self.o.valid.eq(self.i.valid), self.o.payload.eq(terms[0])]
        return m


class Table(wiring.Component):
    """Memory with a byte-enabled write port and a transparent registered read port, driven by plain ports."""

    def __init__(self):
        command = {"address": Out(4), "data": Out(16), "enable": Out(2), "read": Out(1)}
        super().__init__({"port": In(wiring.Signature(command)), "q": Out(16), "busy": Out(1), "wide": In(100)})

    def elaborate(self, _platform):
        m = Module()
        m.submodules.memory = memory = Memory(shape=unsigned(16), depth=16, init=[3 * index for index in range(16)])
        write = memory.write_port(granularity=8)
        read = memory.read_port(transparent_for=[write])
        m.d.comb += [
            *(write.addr.eq(self.port.address), write.data.eq(self.port.data), write.en.eq(self.port.enable)),
            *(read.addr.eq(self.port.address), read.en.eq(self.port.read), self.q.eq(read.data)),
            self.busy.eq(self.wide.any()),
        ]
        return m


@pytest.fixture
def parts():
    return types.SimpleNamespace(Fifo=Fifo, Widen=Widen, Adders=Adders, Table=Table)
