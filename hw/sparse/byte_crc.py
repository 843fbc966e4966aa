"""The CRC-32 of `celosia.hw.link.crc`, a byte at a time."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from celosia.hw.link.crc import INITIAL, POLYNOMIAL, RESIDUE


def step(byte: int) -> int:
    """Return what a byte adds to the register by which it is shifted out of it. The step is linear."""
    for _ in range(8):
        byte = byte >> 1 ^ (POLYNOMIAL if byte & 1 else 0)
    return byte


class ByteCrc(wiring.Component):
    """Takes a byte per cycle; `good` follows in the next cycle. No back-pressure. A reset begins a message.

    Attributes
    ----------
    valid : Signal(1), in
    byte : Signal(8), in
        Its least significant bit comes first.
    good : Signal(1), out
        The message so far ends with its own CRC, least significant byte first.
    """

    valid: Signal
    byte: Signal
    good: Signal

    def __init__(self) -> None:
        super().__init__({"valid": In(1), "byte": In(8), "good": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        register = Signal(32, init=INITIAL)
        mixed = Signal(8)
        columns = [step(1 << bit) for bit in range(8)]
        shifted = register >> 8
        m.d.comb += [
            mixed.eq(register ^ self.byte),
            self.good.eq(register == RESIDUE),
        ]
        with m.If(self.valid):
            m.d.sync += register.eq(
                Cat(
                    Cat(shifted[target], *(mixed[source] for source in range(8) if columns[source] >> target & 1)).xor()
                    for target in range(32)
                )
            )
        return m
