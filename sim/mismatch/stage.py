"""Parts that a value passes one after the other, and what is seen of each."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from celosia.sim.mismatch.report import Operands

Seen: TypeAlias = int | None
"""What a signal held; None if synthesis has left nothing of it, or the run was over."""


@dataclass(frozen=True)
class Stage:
    """A part that values pass: what comes out of it, and when that can be seen; which lane, if it has one."""

    place: str
    quantity: str
    expected: int
    actual: Seen
    cycle: int
    operands: Operands = field(default_factory=dict)
    lane: int | None = None

    @property
    def is_wrong(self) -> bool:
        """Whether something else comes out."""
        return self.actual is not None and self.actual != self.expected


def right(values: Mapping[str, int]) -> dict[str, tuple[int, int]]:
    """Return operands that are as they should be."""
    return {name: (value, value) for name, value in values.items()}


def first_wrong(stages: Iterable[Stage]) -> Stage | None:
    """Return the first stage of which something wrong comes out."""
    return next((stage for stage in stages if stage.is_wrong), None)
