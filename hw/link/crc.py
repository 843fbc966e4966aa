"""CRC-32 of 32-bit words: IEEE 802.3, the one of Ethernet and zlib (CRC-32/ISO-HDLC in the RevEng catalogue)."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

POLYNOMIAL = 0xEDB88320  # reflected: the least significant bit is the highest power
INITIAL = 0xFFFFFFFF
RESIDUE = 0xDEBB20E3  # register after any data that is followed by its own CRC


def step(register: int) -> int:
    """Return the register after 32 zero bits. The step is linear: XOR a word into the register to take the word in."""
    for _ in range(32):
        register = register >> 1 ^ (POLYNOMIAL if register & 1 else 0)
    return register


class Crc32(wiring.Component):
    """Takes a word per cycle; `crc` and `good` follow in the next cycle. No back-pressure.

    Attributes
    ----------
    restart : Signal(1), in
        The next word begins a packet.
    valid : Signal(1), in
        Not together with `restart`.
    word : Signal(32), in
        Little endian: its least significant byte comes first.
    crc : Signal(32), out
        CRC of the packet so far, as the word to send.
    good : Signal(1), out
        The packet so far ends with its own CRC.
    """

    restart: Signal
    valid: Signal
    word: Signal
    crc: Signal
    good: Signal

    def __init__(self) -> None:
        super().__init__({"restart": In(1), "valid": In(1), "word": In(32), "crc": Out(32), "good": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        register = Signal(32, init=INITIAL)
        mixed = Signal(32)
        columns = [step(1 << bit) for bit in range(32)]
        m.d.comb += [
            mixed.eq(register ^ self.word),
            self.crc.eq(~register),
            self.good.eq(register == RESIDUE),
        ]
        with m.If(self.valid):
            m.d.sync += register.eq(
                Cat(
                    Cat(mixed[source] for source in range(32) if columns[source] >> target & 1).xor()
                    for target in range(32)
                )
            )
        with m.If(self.restart):
            m.d.sync += register.eq(INITIAL)
        return m
