"""Registers through which a processor on a bus exchanges packets: the RTL and the C header are made from this table.

A request is written word by word to SEND, its last word to SEND_LAST; an answer is read word by word from RECEIVE.
STATUS says how many words may be written, whether a word may be read, and whether that one is its packet's last.

Registers are 32 bits wide. An access gets the bus's error response and changes nothing if it is not in the table, if it
writes what is only read or reads what is only written, if it writes a part of a word, or if STATUS does not allow it.
"""

from dataclasses import dataclass

MAGIC = 0x43454C4F  # "CELO"
REQUEST_ROOM = 16  # words of requests that wait
ADDRESS_WIDTH = 12  # bits of a byte address: 4 KiB, the least that tools of AXI assign


@dataclass(frozen=True, kw_only=True)
class BitField:
    """Some bits of a register: the lowest of them, how many, and one sentence."""

    name: str
    low: int
    width: int = 1
    summary: str

    @property
    def mask(self) -> int:
        """The bits, where they are in the register."""
        return (1 << self.width) - 1 << self.low


@dataclass(frozen=True, kw_only=True)
class BusRegister:
    """One register.

    Parameters
    ----------
    name : str
        In capitals.
    offset : int
        Bytes from the beginning, a multiple of 4.
    access : str
        "R" or "W".
    summary : str
        One sentence.
    fields : tuple of BitField
        Bits with a meaning of their own; none if the word is one number.
    """

    name: str
    offset: int
    access: str
    summary: str
    fields: tuple[BitField, ...] = ()


BUS_REGISTERS: tuple[BusRegister, ...] = (
    BusRegister(name="IDENT", offset=0x00, access="R", summary=f'0x{MAGIC:08X}, "CELO": there is an accelerator here.'),
    BusRegister(name="VERSION", offset=0x04, access="R", summary="Version of the protocol."),
    BusRegister(name="HASH_LOW", offset=0x08, access="R", summary="Lower half of the config's hash."),
    BusRegister(name="HASH_HIGH", offset=0x0C, access="R", summary="Upper half of the config's hash."),
    BusRegister(
        name="STATUS",
        offset=0x10,
        access="R",
        summary="What may be read and written.",
        fields=(
            BitField(name="WAITING", low=0, summary="A word of an answer is waiting."),
            BitField(name="LAST", low=1, summary="The word that is waiting is its packet's last."),
            BitField(name="ROOM", low=8, width=8, summary="Words of requests there is room for."),
        ),
    ),
    BusRegister(name="SEND", offset=0x14, access="W", summary="Takes a word of a request, but for its last."),
    BusRegister(name="SEND_LAST", offset=0x18, access="W", summary="Takes the last word of a request."),
    BusRegister(name="RECEIVE", offset=0x1C, access="R", summary="Gives a word of an answer, and goes to the next."),
)


def find_register(name: str) -> BusRegister:
    """Return the register of that name.

    Raises
    ------
    KeyError
        There is none.
    """
    return {register.name: register for register in BUS_REGISTERS}[name]
