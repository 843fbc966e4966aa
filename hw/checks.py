"""Checks of configs; a value out of its range is named in one sentence."""


def check_integer(name: str, value: object, low: int, high: int) -> None:
    """Refuse whatever is not a whole number from `low` to `high`.

    Raises
    ------
    ValueError
        It is not.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ValueError(f"{name}={value!r} must be a whole number from {low} to {high}.")
