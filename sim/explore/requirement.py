"""What a candidate must keep to: bounds of its figures."""

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from celosia.host.errors import CelosiaError
from celosia.sim.explore.objectives import OBJECTIVES

_FORM: Final = re.compile(r"\s*(\w+)\s*(<=|>=)\s*([-+.\deE]+)\s*")
_MEETS: Final[dict[str, Callable[[float, float], bool]]] = {"<=": operator.le, ">=": operator.ge}


@dataclass(frozen=True, kw_only=True)
class Requirement:
    """A bound of a figure: its name, ``<=`` or ``>=``, and the bound."""

    name: str
    sign: str
    bound: float

    def broken(self, figures: Mapping[str, float]) -> str:
        """Return what is wrong with figures, in a few words; empty if nothing is, or the figure is not known yet."""
        value = figures.get(self.name)
        if value is None or _MEETS[self.sign](value, self.bound):
            return ""
        return f"{self.name} {value:.6g} is not {self.sign} {self.bound:g}"


def parse_requirement(text: str) -> Requirement:
    """Read ``NAME<=NUMBER`` or ``NAME>=NUMBER``.

    Raises
    ------
    CelosiaError
        It is not of that form, or there is no such figure.
    """
    found = _FORM.fullmatch(text)
    try:
        name, sign, bound = found.group(1, 2, 3) if found else ("", "", "")
        requirement = Requirement(name=name, sign=sign, bound=float(bound))
    except ValueError:
        raise CelosiaError(f"--require {text!r} must be NAME<=NUMBER or NAME>=NUMBER, such as luts<=20000.") from None
    if name not in OBJECTIVES:
        raise CelosiaError(f"--require {text!r}: figure {name!r} is unknown; there are: {', '.join(OBJECTIVES)}.")
    return requirement
