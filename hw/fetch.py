"""Layer fetch: reads the descriptors of a run, one layer ahead of the engine."""

from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from celosia.hw.config import AcceleratorConfig
from celosia.hw.countdown import Countdown, Turns
from celosia.hw.memory import read_port
from celosia.hw.pipeline import delay, struct_of
from celosia.hw.protocol import RUN_FIELDS
from celosia.hw.timing import READ_LATENCY


class LayerFetch(wiring.Component):
    """Walks `layers` descriptors from `program` on, `iterations` times, and offers each until it is taken.

    When inputs or outputs stream, iterations take turns with the two halves of that memory: the descriptor's address is
    moved to the other half in every odd iteration.

    `start` comes in the cycle before the first in which a run is `running`; `program`, `layers` and `iterations` are
    steady from it on. `first` and `last` are those of the layer that is offered.

    Latency: `hw.timing.fetch_cycles` from `start`, and from one `layer_take`, to the next `layer_valid`.
    """

    start: Signal
    running: Signal
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
                "running": In(1),
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
        turns = Turns.of(Const(words))
        left = Countdown(len(turns.count), "left")  # words to be read
        reading = Signal()
        descriptor = Signal(32 * words, reset_less=True)
        layer_index = Signal.like(self.layers, reset_less=True)
        iterations_left = Signal.like(self.iterations, reset_less=True)
        odd = Signal(reset_less=True)
        is_last_iteration = Signal(reset_less=True)
        on_way = [reading]  # words, by the cycles since their reads
        for cycle in range(1, READ_LATENCY + 1):
            on_way.append(delay(m, on_way[-1], 1, f"on_way_{cycle}", reset=True))
        complete = delay(m, reading & left.last, READ_LATENCY, "complete", reset=True)
        more = Signal()

        m.d.comb += [
            self.busy.eq(Cat(on_way).any()),
            more.eq(self.layer_take & ~(self.last & is_last_iteration)),
        ]
        # Known long before a layer is there to be taken.
        m.d.sync += [
            self.first.eq(layer_index == 1),
            self.last.eq(layer_index == self.layers),
            is_last_iteration.eq(iterations_left == 1),
        ]
        with m.If(reading):
            m.d.sync += [*left.step(), self.memory.address.eq(self.memory.address + 1)]
            with m.If(left.last):
                m.d.sync += reading.eq(0)
        with m.Elif(~self.running | self.last):
            m.d.sync += self.memory.address.eq(self.program)
        with m.If(on_way[-1]):
            m.d.sync += descriptor.eq((descriptor >> 32) | (self.memory.data << (32 * (words - 1))))
        with m.If(complete):
            m.d.sync += self.layer_valid.eq(1)
        with m.If(self.layer_take):
            m.d.sync += [layer_index.eq(layer_index + 1), self.layer_valid.eq(0), self.exhausted.eq(~more)]
            with m.If(self.last):
                m.d.sync += [layer_index.eq(1), iterations_left.eq(iterations_left - 1), odd.eq(~odd)]
        with m.If(~self.running):
            m.d.sync += [
                layer_index.eq(1),
                iterations_left.eq(self.iterations),
                odd.eq(0),
                self.layer_valid.eq(0),
                self.exhausted.eq(0),
            ]
        with m.If(self.start | more):
            m.d.sync += [reading.eq(1), *left.begin(turns)]

        read = struct_of(self.config.layer_fields)(descriptor[: self.config.layer_fields.width])
        other_input = odd & self.inputs_stream & ~read.source_is_activations
        other_output = odd & self.outputs_stream & read.destination_is_outputs
        m.d.comb += [
            self.layer.eq(read),
            self.layer.source.eq(read.source ^ Mux(other_input, self.config.input_depth // 2, 0)),
            self.layer.destination.eq(read.destination ^ Mux(other_output, self.config.output_depth // 2, 0)),
        ]
        return m
