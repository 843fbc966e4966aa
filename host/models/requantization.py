"""How accumulators become narrow integers: what the layers with such a step have in common.

``y = clamp(round(acc · multiplier · 2^(shift − 31)) + output_zero_point, minimum, maximum)``, the arithmetic of
TensorFlow Lite (Jacob et al. 2018, arXiv 1712.05877). Activation functions are in the clamp.
"""

from typing import Any, Final, Literal, get_args

import numpy as np

from celosia.host.models.checks import check_range, integer, integer_vector, layer_label
from celosia.host.models.errors import ModelError
from celosia.host.models.integers import activation_range

Rounding = Literal["double", "away", "even", "up"]
"""How a requantized value is rounded: ``double`` is gemmlowp's two roundings, the others round once."""

ROUNDINGS: Final[tuple[str, ...]] = get_args(Rounding)
MAX_MULTIPLIER: Final = 2**31 - 1
MIN_SHIFT: Final = -31
MAX_SHIFT: Final = 7
BIAS_BITS: Final = 48


def check_requantization(layer: Any, outputs: int) -> None:
    """Check and freeze `bias`, `multiplier` and `shift` (N,) of a layer with N outputs, rounding, types and clamp.

    Raises
    ------
    ModelError
        If a value is out of range.
    """
    where = layer_label(layer.name)
    for field, smallest, largest in (
        ("bias", -(2 ** (BIAS_BITS - 1)), 2 ** (BIAS_BITS - 1) - 1),
        ("multiplier", 0, MAX_MULTIPLIER),
        ("shift", MIN_SHIFT, MAX_SHIFT),
    ):
        values = integer_vector(where, field, getattr(layer, field), outputs)
        check_range(where, field, values, smallest, largest)
        object.__setattr__(layer, field, values)
    check_rounding(layer)
    set_integer(layer, "input_zero_point", *activation_range(layer.input_dtype))
    check_outputs(layer)


def check_rounding(layer: Any) -> None:
    """Refuse a rounding that is not known."""
    if layer.rounding not in ROUNDINGS:
        raise ModelError(
            f"{layer_label(layer.name)}: rounding {layer.rounding!r} is not one of {', '.join(ROUNDINGS)}."
        )


def check_outputs(layer: Any) -> None:
    """Check `output_zero_point`, `minimum` and `maximum`, all within `output_dtype`."""
    set_integer(layer, "output_zero_point", *activation_range(layer.output_dtype))
    check_clamp(layer)


def check_clamp(layer: Any) -> None:
    """Check `minimum` and `maximum`, in order and within `output_dtype`."""
    for field in ("minimum", "maximum"):
        set_integer(layer, field, *activation_range(layer.output_dtype))
    if layer.minimum > layer.maximum:
        raise ModelError(
            f"{layer_label(layer.name)}: minimum {layer.minimum} is above maximum {layer.maximum}; it must not be."
        )


def set_integer(layer: Any, field: str, smallest: int, largest: int) -> None:
    """Store a field as an int from smallest to largest."""
    value = integer(layer_label(layer.name), field, getattr(layer, field), smallest, largest)
    object.__setattr__(layer, field, value)


def set_integers(layer: Any, field: str, count: int, smallest: int, largest: int) -> None:
    """Store a field as a tuple of `count` ints, each from smallest to largest."""
    where, values = layer_label(layer.name), getattr(layer, field)
    if not isinstance(values, tuple | list | np.ndarray) or np.shape(values) != (count,):
        raise ModelError(f"{where}: {field} is {values!r}, but {count} integers are needed.")
    checked = tuple(integer(where, field, value, smallest, largest) for value in values)
    object.__setattr__(layer, field, checked)


def set_shape(layer: Any, field: str) -> None:
    """Store a field as a shape: a tuple of one or more sizes of at least 1."""
    where, values = layer_label(layer.name), getattr(layer, field)
    if not isinstance(values, tuple | list) or not values:
        raise ModelError(f"{where}: {field} is {values!r}, but a tuple of one or more sizes is needed.")
    checked = tuple(integer(where, f"a size of {field}", value, 1, 2**31 - 1) for value in values)
    object.__setattr__(layer, field, checked)
