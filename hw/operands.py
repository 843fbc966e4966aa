"""What the configs of several engines say alike: of weights and activations, and of memories."""

from functools import cached_property


class OperandRanges:
    """Ranges that follow from widths, for configs that have these three."""

    activation_width: int
    activation_signed: bool
    weight_width: int

    @cached_property
    def activation_range(self) -> tuple[int, int]:
        """Smallest and largest activation."""
        if self.activation_signed:
            return -(1 << (self.activation_width - 1)), (1 << (self.activation_width - 1)) - 1
        return 0, (1 << self.activation_width) - 1

    @cached_property
    def weight_range(self) -> tuple[int, int]:
        """Smallest and largest weight."""
        return -(1 << (self.weight_width - 1)), (1 << (self.weight_width - 1)) - 1


class PlainMemories:
    """For configs of engines that have no memories of their own, read weight words whole, and clear nothing."""

    @property
    def weight_banks(self) -> int:
        """Weight words are read whole."""
        return 1

    @property
    def reset_cycles(self) -> int:
        """The engine is ready at once."""
        return 0

    def own_memories(self, weight_depth: int) -> tuple[tuple[str, int, int, int], ...]:
        """None but those that all engines have."""
        return ()
