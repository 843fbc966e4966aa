"""The array: PEs that take the same activations, each with weights of its own."""

from amaranth.hdl import Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from celosia.hw.binary.config import BinaryConfig
from celosia.hw.binary.pe import BinaryPe
from celosia.hw.binary.tree import count_tree
from celosia.hw.pipeline import delay
from celosia.hw.unmerged import unmerged

PES_TOGETHER = 8
"""PEs that have activations and controls from the same registers: a net to all of them would be slow."""


class BinaryArray(wiring.Component):
    """`pes` PEs of `simd` XNORs each: a beat of activations and weights per cycle, no back-pressure.

    A beat's `activations` and controls come two cycles before its `weights`, of which PE 0 has the lowest ones: `beat`
    says that there is one; `double`, that the sum before is doubled first; `last`, that it is the last one of a sum;
    `mute`, that it adds nothing. Sums are in `totals` `array_latency` cycles after their last beat's weights, until the
    next ones come. `restart` makes sums begin at 0, when nothing is on its way.
    """

    activations: Signal
    weights: Signal
    beat: Signal
    double: Signal
    last: Signal
    mute: Signal
    restart: Signal
    totals: data.View

    def __init__(self, config: BinaryConfig) -> None:
        self.config = config
        super().__init__(
            {
                "activations": In(config.simd),
                "weights": In(config.weight_word_width),
                "beat": In(1),
                "double": In(1),
                "last": In(1),
                "mute": In(1),
                "restart": In(1),
                "totals": Out(data.ArrayLayout(config.accumulator_width, config.pes)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        tree = count_tree(self.config.simd)
        levels = len(tree.levels)
        shared = {
            "mute": delay(m, self.mute & self.beat, levels - 1, "mute"),
            "add": delay(m, self.beat, levels, "beat", reset=True),
            "double": delay(m, self.double, levels, "double"),
            "capture": delay(m, self.beat & self.last, levels, "last", reset=True),
        }
        shared["restart"] = shared["capture"] | self.restart
        for first in range(0, self.config.pes, PES_TOGETHER):
            activations = unmerged(m, self.activations, f"activations_{first}")
            controls = {name: unmerged(m, value, f"{name}_{first}") for name, value in shared.items()}
            for index in range(first, min(first + PES_TOGETHER, self.config.pes)):
                m.submodules[f"pe_{index}"] = pe = BinaryPe(self.config)
                m.d.comb += [
                    pe.activations.eq(activations),
                    pe.weights.eq(self.weights.word_select(index, self.config.simd)),
                    *(getattr(pe, name).eq(value) for name, value in controls.items()),
                    self.totals[index].eq(pe.total),
                ]
        return m
