"""Tables in Markdown about the protocol, made of the tables that the hardware is made of."""

from collections.abc import Iterable, Sequence

from celosia.host.deliverable.layouts import Place
from celosia.hw.bus_registers import BUS_REGISTERS, BusRegister


def markdown_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table; columns whose names end in a colon are aligned to the right."""
    names = [column.removesuffix(":") for column in columns]
    rule = ["---:" if column.endswith(":") else "---" for column in columns]
    return "\n".join("| " + " | ".join(map(str, row)) + " |" for row in (names, rule, *rows))


def hex_words(packet: bytes) -> str:
    """Return a packet's words as people write numbers, most significant digit first."""
    return " ".join(f"{int.from_bytes(packet[at : at + 4], 'little'):08x}" for at in range(0, len(packet), 4))


def register_table() -> str:
    """Return the registers of bus links, and their fields."""
    return markdown_table(
        ("offset", "register", "access", "bits", "what"), (row for each in BUS_REGISTERS for row in _register(each))
    )


def _register(register: BusRegister) -> list[tuple[str, str, str, str, str]]:
    access = {"R": "read", "W": "write"}.get(register.access, register.access)
    head = (f"0x{register.offset:02X}", register.name, access, "31:0", register.summary)
    fields = [
        ("", "", "", _bits(field.low, field.width), f"{field.name}: {field.summary}") for field in register.fields
    ]
    return [head, *fields]


def place_rows(places: Iterable[Place]) -> list[tuple[str, str, str]]:
    """Return a row of word, bits and name for each field of a payload."""
    rows = []
    for place in places:
        last = place.word + (place.low + place.width - 1) // 32
        words = str(place.word) if last == place.word else f"{place.word} to {last}"
        rows.append((words, _bits(place.low, place.width), place.name))
    return rows


def _bits(low: int, width: int) -> str:
    return str(low) if width == 1 else f"{low + width - 1}:{low}"
