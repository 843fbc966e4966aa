"""Windows that are moved over an image (H, W, C): what convolutions and pooling have in common."""

from functools import cached_property
from typing import Any, Final

from celosia.host.models.checks import layer_label
from celosia.host.models.errors import ModelError
from celosia.host.models.requantization import set_integers

Pair = tuple[int, int]

MAX_SIDE: Final = 2**15
"""Most rows or columns of an image, a kernel or its padding."""


def window_places(size: Pair, span: Pair, strides: Pair, padding: tuple[int, int, int, int] = (0, 0, 0, 0)) -> Pair:
    """Return how many places a window has along H and W; less than 1 if it is larger than the padded image.

    Parameters
    ----------
    size, span, strides : tuple of int
        (rows, columns) of the image, of the window, and from place to place.
    padding : tuple of int
        Rows above, columns to the left, rows below, columns to the right.
    """
    top, left, bottom, right = padding
    height = (size[0] + top + bottom - span[0]) // strides[0] + 1
    return height, (size[1] + left + right - span[1]) // strides[1] + 1


class WindowLayer:
    """Sizes of a layer with `kernel`, `input_size`, `strides`, `padding` and `dilations`."""

    def _check_window(self: Any) -> None:
        """Check and store strides and padding, and check that a window fits into the padded image."""
        set_integers(self, "strides", 2, 1, MAX_SIDE)
        set_integers(self, "padding", 4, 0, MAX_SIDE)
        if min(self.output_size) < 1:
            raise ModelError(
                f"{layer_label(self.name)}: its window spans {self.span[0]} × {self.span[1]}, which is larger than the "
                f"image that it is moved over, {self.input_size[0]} × {self.input_size[1]} and padding {self.padding}."
            )

    @cached_property
    def span(self: Any) -> Pair:
        """Rows and columns from the first to the last element of a window, gaps of dilation included."""
        rows, columns = ((size - 1) * gap + 1 for size, gap in zip(self.kernel, self.dilations, strict=True))
        return rows, columns

    @cached_property
    def output_size(self: Any) -> Pair:
        """(H, W) of the output: the windows along each axis."""
        return window_places(self.input_size, self.span, self.strides, self.padding)
