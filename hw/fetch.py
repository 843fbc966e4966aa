"""Layer fetch: reads the descriptors of a run, one layer ahead of the engine."""

from typing import Any

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from celosia.hw.config import AcceleratorConfig
from celosia.hw.memory import read_port
from celosia.hw.pipeline import delay, struct_of
from celosia.hw.protocol import RUN_FIELDS
from celosia.hw.timing import READ_LATENCY


class LayerFetch(wiring.Component):
    """Walks `layers` descriptors from `program` on, `iterations` times, and offers each until it is taken.

    When inputs or outputs stream, iterations take turns with the two halves of that memory: the descriptor's address is
    moved to the other half in every odd iteration.

    Latency: `hw.timing.fetch_cycles` from `start`, and from one `layer_take`, to the next `layer_valid`.
    """

    start: Signal
    program: Signal
    layers: Signal
    iterations: Signal
    inputs_stream: Signal
    outputs_stream: Signal
    memory: Any
    layer: data.View
    layer_valid: Signal
    layer_take: Signal
    first: Signal
    last: Signal
    busy: Signal
    exhausted: Signal

    def __init__(self, config: AcceleratorConfig) -> None:
        self.config = config
        program = config.memory("program")
        super().__init__(
            {
                "start": In(1),
                **{name: In(RUN_FIELDS[name]) for name in ("program", "layers", "iterations")},
                "inputs_stream": In(1),
                "outputs_stream": In(1),
                "memory": Out(read_port(program.width, program.depth)),
                "layer": Out(struct_of(config.layer_fields)),
                "layer_valid": Out(1),
                "layer_take": In(1),
                "first": Out(1),
                "last": Out(1),
                "busy": Out(1),
                "exhausted": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        words = self.config.layer_fields.words
        left = Signal(range(words + 1))  # words still to be read
        missing = Signal(range(words + 1))  # words still to arrive
        descriptor = Signal(32 * words, reset_less=True)
        layer_index = Signal.like(self.layers, reset_less=True)
        iterations_left = Signal.like(self.iterations, reset_less=True)
        odd = Signal(reset_less=True)
        arrived = delay(m, left != 0, READ_LATENCY, "arrived", reset=True)
        more = Signal()

        m.d.comb += [
            self.first.eq(layer_index == 1),
            self.last.eq(layer_index == self.layers),
            self.busy.eq(missing != 0),
            more.eq(self.layer_take & ~(self.last & (iterations_left == 1))),
        ]
        with m.If(left != 0):
            m.d.sync += [left.eq(left - 1), self.memory.address.eq(self.memory.address + 1)]
        with m.If(arrived):
            m.d.sync += [
                descriptor.eq((descriptor >> 32) | (self.memory.data << (32 * (words - 1)))),
                missing.eq(missing - 1),
            ]
            with m.If(missing == 1):
                m.d.sync += self.layer_valid.eq(1)
        with m.If(self.layer_take):
            m.d.sync += [layer_index.eq(layer_index + 1), self.layer_valid.eq(0), self.exhausted.eq(~more)]
            with m.If(self.last):
                m.d.sync += [
                    layer_index.eq(1),
                    iterations_left.eq(iterations_left - 1),
                    odd.eq(~odd),
                    self.memory.address.eq(self.program),
                ]
        with m.If(self.start):
            m.d.sync += [
                layer_index.eq(1),
                iterations_left.eq(self.iterations),
                odd.eq(0),
                self.memory.address.eq(self.program),
                self.layer_valid.eq(0),
                self.exhausted.eq(0),
            ]
        with m.If(self.start | more):
            m.d.sync += [left.eq(words), missing.eq(words)]

        read = struct_of(self.config.layer_fields)(descriptor[: self.config.layer_fields.width])
        other_input = odd & self.inputs_stream & ~read.source_is_activations
        other_output = odd & self.outputs_stream & read.destination_is_outputs
        m.d.comb += [
            self.layer.eq(read),
            self.layer.source.eq(read.source ^ Mux(other_input, self.config.input_depth // 2, 0)),
            self.layer.destination.eq(read.destination ^ Mux(other_output, self.config.output_depth // 2, 0)),
        ]
        return m
