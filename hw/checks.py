"""Checks of configs; a value out of its range is named in one sentence."""

import math
from collections.abc import Mapping


def check_integer(name: str, value: object, low: int, high: int) -> None:
    """Refuse whatever is not a whole number from `low` to `high`.

    Raises
    ------
    ValueError
        It is not.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ValueError(f"{name}={value!r} must be a whole number from {low} to {high}.")


def check_common_divisor(name: str, value: object, sizes: Mapping[str, int], why: str) -> None:
    """Refuse whatever does not divide all `sizes`, which have names; `why` ends the sentence.

    Raises
    ------
    ValueError
        It does not.
    """
    shared = math.gcd(*sizes.values())
    check_integer(name, value, 1, shared)
    assert isinstance(value, int)
    if shared % value:
        raise ValueError(f"{name}={value} must divide gcd({', '.join(sizes)})={shared}, so that {why}.")
