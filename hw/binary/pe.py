"""One PE: counts the bits in which activations and weights differ, and sums the counts of a pass."""

from itertools import chain

from amaranth.hdl import Const, Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from celosia.hw.binary.chain import Addition, Bit, Differs, Either, Operand, add_all
from celosia.hw.binary.config import BinaryConfig
from celosia.hw.binary.tree import Adder, Tree, count_tree
from celosia.hw.pipeline import delay
from celosia.hw.unmerged import unmerged


class BinaryPe(wiring.Component):
    """XNOR-popcount of `simd` bits, summed; the host gives weights inverted, so that XOR counts what XNOR would.

    A beat's `activations` come a cycle before its `weights`. Its controls come a cycle before its count is summed, as
    many cycles behind its weights as the tree has levels, less one: `add` says that there is a beat; `double`, that the
    sum before is doubled first; `capture`, that it is the last of its sum, which is in `total` two cycles later;
    `restart`, that the next sum begins at 0. `mute`, which makes the count 0, comes a cycle before them. Throughput one
    beat per cycle; no back-pressure; no overflow if the sums fit, else modulo.
    """

    activations: Signal
    weights: Signal
    mute: Signal
    add: Signal
    double: Signal
    restart: Signal
    capture: Signal
    total: Signal

    def __init__(self, config: BinaryConfig) -> None:
        self.config = config
        controls = ("mute", "add", "double", "restart", "capture")
        super().__init__(
            {
                "activations": In(config.simd),
                "weights": In(config.simd),
                **{name: In(1) for name in controls},
                "total": Out(config.accumulator_width),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        tree = count_tree(self.config.simd)
        # Registers of its own: nets that reach many PEs are slow, above all to clock enables and resets.
        mute, add, double, restart, capture = (
            unmerged(m, getattr(self, name), name) for name in ("mute", "add", "double", "restart", "capture")
        )
        lanes = self._lanes(m, tree, mute)
        counts = [
            [Signal(adder.width, name=f"count_{level}_{index}", reset_less=True) for index, adder in enumerate(adders)]
            for level, adders in enumerate(tree.levels)
        ]
        acc = Signal(self.config.accumulator_width, reset_less=True)
        additions = [
            self._addition(adder, lanes, counts[level - 1] if level else None)
            for level, adders in enumerate(tree.levels)
            for adder in adders
        ]
        additions.append(self._accumulation(acc, double, counts[-1][0], lanes[tree.last_lane]))
        *sums, total = add_all(m, additions, platform)
        m.d.sync += [count.eq(value) for count, value in zip(chain.from_iterable(counts), sums, strict=True)]
        with m.If(mute):
            m.d.sync += counts[-1][0].eq(0)
        with m.If(restart):
            m.d.sync += acc.eq(0)
        with m.Elif(add):
            m.d.sync += acc.eq(total)
        with m.If(capture):
            m.d.sync += self.total.eq(total)
        return m

    def _lanes(self, m: Module, tree: Tree, mute: Value) -> list[Differs]:
        """Return each lane when it is added."""
        copies = unmerged(m, self.activations, "activations")
        lanes = []
        for lane, late in sorted(tree.delays().items()):
            activation = delay(m, copies[lane], late, f"activation_{lane}")
            weight = delay(m, self.weights[lane], late, f"weight_{lane}")
            if lane == tree.last_lane:
                with m.If(mute):
                    m.d.sync += [activation.eq(0), weight.eq(0)]
            lanes.append(Differs(activation, weight))
        return lanes

    def _addition(self, adder: Adder, lanes: list[Differs], counts: list[Signal] | None) -> Addition:
        if counts is None:
            sides: list[list[Operand]] = [[lanes[lane]] for lane in adder.sources]
        else:
            sides = [[Bit(bit) for bit in counts[source]] for source in adder.sources]
        return Addition(
            left=sides[0],
            right=sides[1] if len(sides) > 1 else [],
            carry=None if adder.carry is None else lanes[adder.carry],
            width=adder.width,
        )

    def _accumulation(self, acc: Signal, double: Value, count: Signal, lane: Differs) -> Addition:
        left: list[Operand] = [Bit(bit) for bit in acc]
        if self.config.activation_width > 1:
            below = [Const(0, 1), *acc[:-1]]
            left = [Either(double, high, low) for high, low in zip(below, acc, strict=True)]
        return Addition(left=left, right=[Bit(bit) for bit in count], carry=lane, width=len(acc))
