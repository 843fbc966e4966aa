"""What the configs of all engines say of weights and activations."""


class OperandRanges:
    """Ranges that follow from widths, for configs that have these three."""

    activation_width: int
    activation_signed: bool
    weight_width: int

    @property
    def activation_range(self) -> tuple[int, int]:
        """Smallest and largest activation."""
        if self.activation_signed:
            return -(1 << (self.activation_width - 1)), (1 << (self.activation_width - 1)) - 1
        return 0, (1 << self.activation_width) - 1

    @property
    def weight_range(self) -> tuple[int, int]:
        """Smallest and largest weight."""
        return -(1 << (self.weight_width - 1)), (1 << (self.weight_width - 1)) - 1
