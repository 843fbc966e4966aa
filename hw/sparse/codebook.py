"""Codebook reader: copies a layer's codebook from its memory to every PE."""

from typing import Any

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from celosia.hw.config import AcceleratorConfig
from celosia.hw.memory import read_port
from celosia.hw.pipeline import delay
from celosia.hw.sparse.config import SparseConfig
from celosia.hw.sparse.timing import codebook_cycles
from celosia.hw.timing import READ_LATENCY


class CodebookReader(wiring.Component):
    """Writes a codebook's weights to the PEs, one per cycle, the first READ_LATENCY + 1 cycles after `start`.

    `ready` says that whatever is broadcast from the next cycle on meets a complete codebook: it rises `codebook_cycles`
    after `start`, as the last weights are still on their way.
    """

    start: Signal
    base: Signal
    memory: Any
    ready: Signal
    enable: Signal
    code: Signal
    weight: Signal

    def __init__(self, config: AcceleratorConfig) -> None:
        assert isinstance(config.engine, SparseConfig)
        self.engine = config.engine
        memory = config.memory("codebooks")
        super().__init__(
            {
                "start": In(1),
                "base": In(read_port(memory.width, memory.depth).members["address"].shape),
                "memory": Out(read_port(memory.width, memory.depth)),
                "ready": Out(1),
                "enable": Out(1),
                "code": Out(self.engine.code_width),
                "weight": Out(self.engine.weight_width),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        if self.engine.codebook_width is None:
            m.d.comb += self.ready.eq(1)
            return m
        size = 1 << self.engine.code_width
        code = Signal(self.engine.code_width, reset_less=True)
        reading = Signal()
        with m.If(reading):
            m.d.sync += [code.eq(code + 1), self.memory.address.eq(self.memory.address + 1)]
            with m.If(code == codebook_cycles(self.engine) - 2):
                m.d.sync += self.ready.eq(1)
            with m.If(code == size - 1):
                m.d.sync += reading.eq(0)
        with m.If(self.start):
            m.d.sync += [reading.eq(1), code.eq(0), self.memory.address.eq(self.base), self.ready.eq(0)]
        m.d.comb += [
            self.enable.eq(delay(m, reading, READ_LATENCY, "reading", reset=True)),
            self.code.eq(delay(m, code, READ_LATENCY, "code")),
            self.weight.eq(self.memory.data),
        ]
        return m
