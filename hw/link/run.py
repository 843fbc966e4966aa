"""Payload of RUN: loaded into the run's registers and checked."""

from typing import Any

from amaranth.hdl import Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from celosia.hw.config import AcceleratorConfig
from celosia.hw.core_port import run_layout
from celosia.hw.protocol import RUN_FIELDS, RUN_WORDS, StatusCode

PROGRAM, ITERATIONS, INPUTS, OUTPUTS, RING, FLAGS, HASH_LOW, HASH_HIGH = range(RUN_WORDS)


class RunLoader(wiring.Component):
    """Takes the eight words of RUN's payload after `start`. Throughput: a word per cycle.

    Inputs and results stream through halves of their memories, so an iteration has at most half a memory of each. What
    is in range fits fewer bits than a packet has for it: the others are not kept.

    Attributes
    ----------
    start : Signal(1), in
    busy : Signal(1), out
        From the cycle after `start` until `status` is right.
    i : stream of 32 bits, in
    run : run_layout, out
    status : Signal(8), out
        StatusCode: OK, CONFIG if the hash is not this config's, PARAMETER if a number is out of its range.
    """

    start: Signal
    busy: Signal
    i: stream.Interface
    run: data.View
    status: Signal

    def __init__(self, config: AcceleratorConfig) -> None:
        self.config = config
        super().__init__(
            {
                "start": In(1),
                "busy": Out(1),
                "i": In(stream.Signature(32)),
                "run": Out(run_layout()),
                "status": Out(8),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        limits = self._limits
        bits = {name: limits[name].bit_length() if name in limits else width for name, width in RUN_FIELDS.items()}
        layout = data.StructLayout({name: unsigned(width) for name, width in bits.items()})
        run: Any = Signal(layout, reset_less=True)
        position = Signal(range(RUN_WORDS + 1))
        foreign = Signal(2)  # halves of the hash that are another config's
        wrong = Signal(RUN_WORDS)  # for each word, whether it is out of its range
        take = Signal()
        m.d.comb += [
            *(self.run[name].eq(run[name]) for name in bits),
            self.i.ready.eq(self.busy & (position != RUN_WORDS)),
            take.eq(self.i.valid & self.i.ready),
        ]
        with m.If(take):
            m.d.sync += position.eq(position + 1)
            self._load(m, position, run, foreign, wrong)
        with m.If(self.busy & (position == RUN_WORDS)):
            m.d.sync += self.busy.eq(0)
            m.d.sync += self.status.eq(
                Mux(foreign.any(), StatusCode.CONFIG, Mux(wrong.any(), StatusCode.PARAMETER, StatusCode.OK))
            )
        with m.If(self.start):
            m.d.sync += [self.busy.eq(1), position.eq(0)]
        return m

    @property
    def _limits(self) -> dict[str, int]:
        """Largest value of each number that has one. A descriptor takes a word of the program or more."""
        return {
            "program": self.config.program_depth - 1,
            "layers": self.config.program_depth,
            "input_words": self.config.input_depth // 2,
            "output_words": self.config.output_depth // 2,
            "ring_base": self.config.weight_depth,
        }

    def _load(self, m: Module, position: Signal, run: Any, foreign: Signal, wrong: Signal) -> None:
        word = self.i.payload
        expected = int(self.config.hash, 16)
        limits = self._limits
        with m.Switch(position):
            with m.Case(PROGRAM):
                m.d.sync += [run.program.eq(word[:16]), run.layers.eq(word[16:])]
                unfit = (word[:16] > limits["program"]) | (word[16:] > limits["layers"])
                m.d.sync += wrong[PROGRAM].eq(unfit | (word[16:] == 0))
            with m.Case(ITERATIONS):
                m.d.sync += [run.iterations.eq(word), wrong[ITERATIONS].eq(word == 0)]
            for number, name in {INPUTS: "input_words", OUTPUTS: "output_words", RING: "ring_base"}.items():
                with m.Case(number):
                    m.d.sync += [run[name].eq(word), wrong[number].eq(word > limits[name])]
            with m.Case(FLAGS):
                m.d.sync += wrong[FLAGS].eq(word != 0)
            with m.Case(HASH_LOW):
                m.d.sync += foreign[0].eq(word != expected & 0xFFFFFFFF)
            with m.Case(HASH_HIGH):
                m.d.sync += foreign[1].eq(word != expected >> 32)
