"""Random logic, to hold the Verilog writer against Amaranth's own idea of it."""

import random

import pytest
from amaranth.hdl import Cat, Const, Module, Mux, signed, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

OPERATORS = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b if len(a) + len(b) < 60 else a,
    "&": lambda a, b: a & b,
    "|": lambda a, b: a | b,
    "^": lambda a, b: a ^ b,
    "~": lambda a, _b: ~a,
    "neg": lambda a, _b: -a,
    "cat": lambda a, b: Cat(a, b),
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "any": lambda a, _b: a.any(),
    "all": lambda a, _b: a.all(),
    "xor": lambda a, _b: a.xor(),
    "<<": lambda a, b: a << Cat(b)[:3] if len(a) < 40 else a,
    ">>": lambda a, b: a >> Cat(b)[:3],
    # Beyond the end of a signed value Amaranth's simulator and its RTLIL disagree: select from plain bits.
    "bits": lambda a, b: Cat(a, Const(0, 1)).bit_select(Cat(b)[:3], 2),
    "word": lambda a, b: Cat(a, Const(0, 1)).word_select(Cat(b)[:2], (len(a) + 4) // 4),
    "//": lambda a, b: Cat(a) // Cat(b),
    "%": lambda a, b: Cat(a) % Cat(b),
    "signed": lambda a, _b: Cat(a).as_signed(),
}


class RandomLogic(wiring.Component):
    """Some inputs, some outputs, and anything in between."""

    INPUTS, OUTPUTS = 6, 10

    def __init__(self, seed):
        self._random = random.Random(seed)
        members = {f"x{index}": In(self._shape((1, 1, 2, 3, 5, 8, 13, 20))) for index in range(self.INPUTS)}
        members |= {f"y{index}": Out(self._shape((1, 3, 8, 17, 33, 40))) for index in range(self.OUTPUTS)}
        super().__init__(members)

    def _shape(self, widths):
        width = self._random.choice(widths)
        return signed(width) if self._random.random() < 0.5 else unsigned(width)

    def elaborate(self, _platform):
        m = Module()
        pool = [getattr(self, f"x{index}") for index in range(self.INPUTS)]
        for index in range(self.OUTPUTS):
            output = getattr(self, f"y{index}")
            domain = m.d.comb if self._random.random() < 0.6 else m.d.sync
            self._assign(m, domain, output, pool)
            pool.append(output)
        return m

    def _leaf(self, pool):
        value = self._random.choice(pool) if self._random.random() < 0.85 else Const(self._random.randrange(-20, 40))
        if len(value) > 2 and self._random.random() < 0.2:
            low = self._random.randrange(len(value))
            value = value[low : self._random.randrange(low, len(value)) + 1]
        return value

    def _value(self, pool, depth):
        if depth == 0:
            return self._leaf(pool)
        if self._random.random() < 0.1:
            return Mux(self._leaf(pool), self._value(pool, depth - 1), self._value(pool, depth - 1))
        operator = OPERATORS[self._random.choice(list(OPERATORS))]
        return operator(self._value(pool, depth - 1), self._value(pool, self._random.randrange(depth)))

    def _assign(self, m, domain, output, pool):
        value = self._value(pool, self._random.randrange(1, 4))
        form = self._random.random()
        if form < 0.5:
            domain += output.eq(value)
        elif form < 0.75:
            domain += output.eq(self._value(pool, 1))
            with m.If(self._value(pool, 1).any()):
                domain += output.eq(value)
            with m.Elif(self._leaf(pool).any()):
                domain += output[: (len(output) + 1) // 2].eq(self._value(pool, 2))
            if self._random.random() < 0.5:
                with m.Else():
                    domain += output.eq(self._leaf(pool))
        else:
            with m.Switch(Cat(self._leaf(pool), Const(0, 3))[:3]):
                with m.Case("1--"):
                    domain += output.eq(value)
                with m.Case(2, 1):
                    with m.If(self._leaf(pool).any()):
                        domain += output.eq(self._value(pool, 1))
                    domain += output[0].eq(self._leaf(pool))
                if self._random.random() < 0.5:
                    with m.Default():
                        domain += output.eq(self._value(pool, 1))


class SideBySide(wiring.Component):
    """Random logic of several seeds, built nearly as soon as of one; names of ports end with the seed."""

    def __init__(self, seeds):
        self._parts = {seed: RandomLogic(seed) for seed in seeds}
        members = {
            f"{name}_{seed}": member
            for seed, part in self._parts.items()
            for name, member in part.signature.members.items()
        }
        super().__init__(members)

    @property
    def names(self):
        """Inputs and outputs."""
        flows = (In, Out)
        return tuple([name for name, member in self.signature.members.items() if member.flow is flow] for flow in flows)

    def elaborate(self, _platform):
        m = Module()
        for seed, part in self._parts.items():
            m.submodules[f"seed_{seed}"] = part
            for name, member in part.signature.members.items():
                inner, outer = getattr(part, name), getattr(self, f"{name}_{seed}")
                m.d.comb += inner.eq(outer) if member.flow is In else outer.eq(inner)
        return m


@pytest.fixture
def random_logic():
    return SideBySide
