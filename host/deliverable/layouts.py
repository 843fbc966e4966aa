"""Where the fields of payloads are, found out by encoding them: what is written about them cannot be wrong."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from celosia.hw.protocol import RUN_FIELDS, RUN_WORDS, RunParameters, StatusReport


@dataclass(frozen=True, kw_only=True)
class Place:
    """Place of a field: the 32-bit word it begins in, its lowest bit there, and its bits."""

    name: str
    word: int
    low: int
    width: int


def run_places() -> list[Place]:
    """Return the places of RUN's fields in its payload."""
    ones: dict[str, Any] = {name: (1 << width) - 1 for name, width in RUN_FIELDS.items()}
    zeros: dict[str, Any] = {**dict.fromkeys(ones, 0), "config_hash": "0"}
    ones["config_hash"] = f"{(1 << 64) - 1:x}"
    return _places(lambda values: RunParameters(**values).encode(), zeros, ones)


def status_places() -> list[Place]:
    """Return the places of what STATUS answers; `cause_cycles` is the counter of the first cause."""
    zeros: dict[str, Any] = {
        **dict.fromkeys(("state", "error", "saturated", "fresh", "failure", "total_cycles"), 0),
        "cause_cycles": (0,),
    }
    counter = (1 << 64) - 1
    ones: dict[str, Any] = {
        **{"state": 0xFF, "error": 0xFF, "saturated": 1, "fresh": 1, "failure": 0xF, "total_cycles": counter},
        "cause_cycles": (counter,),
    }
    return _places(lambda values: StatusReport(**values).encode(), zeros, ones)


def _places(encode: Callable[[dict[str, Any]], bytes], zeros: dict[str, Any], ones: dict[str, Any]) -> list[Place]:
    nothing = int.from_bytes(encode(zeros), "little")
    places = []
    for name, value in ones.items():
        bits = int.from_bytes(encode({**zeros, name: value}), "little") ^ nothing
        first = (bits & -bits).bit_length() - 1
        places.append(Place(name=name, word=first // 32, low=first % 32, width=bits.bit_count()))
    return places


def used_words() -> list[bool]:
    """Whether each word of RUN's payload has a field; the others must be 0."""
    used = [False] * RUN_WORDS
    for place in run_places():
        for word in range(place.word, (32 * place.word + place.low + place.width + 31) // 32):
            used[word] = True
    return used
