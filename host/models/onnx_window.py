"""Windows of convolutions and pooling, as attributes of ONNX operators describe them."""

import dataclasses
from dataclasses import dataclass

from celosia.host.models.errors import ModelError
from celosia.host.models.onnx_node import Node
from celosia.host.models.window import MAX_SIDE, Pair


@dataclass(frozen=True)
class Window:
    """How a window is moved over an image.

    Parameters
    ----------
    size, kernel, strides, dilations : tuple of int
        Of the image (H, W), and along H and W.
    padding : tuple of int
        Rows above, columns to the left, rows below, columns to the right.
    """

    size: Pair
    kernel: Pair
    strides: Pair = (1, 1)
    dilations: Pair = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)

    @property
    def span(self) -> Pair:
        """Rows and columns from the first to the last element, gaps of dilation included."""
        rows, columns = ((side - 1) * gap + 1 for side, gap in zip(self.kernel, self.dilations, strict=True))
        return rows, columns


def read_window(node: Node, size: Pair, kernel: Pair | None = None) -> Window:
    """The window of an operator over an image of a size; `kernel` is that of the weights, if it has any.

    Raises
    ------
    ModelError
        If an attribute is missing, does not fit two axes or is out of range.
    """
    given = node.numbers("kernel_shape")
    if given is None and kernel is None:
        raise ModelError("it has no kernel_shape, but needs one")
    sides = kernel if given is None or kernel == tuple(given) else _pair(node, "kernel_shape", MAX_SIDE)
    if kernel not in (None, sides):
        raise ModelError(f"its kernel_shape is {given}, but its weights have {kernel}")
    assert sides is not None
    window = Window(size, sides, _pair(node, "strides", MAX_SIDE), _pair(node, "dilations", MAX_SIDE))
    mode = node.text("auto_pad", "NOTSET")
    if mode == "NOTSET":
        return dataclasses.replace(window, padding=_explicit_padding(node))
    if mode == "VALID":
        return window
    if mode not in ("SAME_UPPER", "SAME_LOWER"):
        raise ModelError(f"its auto_pad is {mode!r}, but NOTSET, VALID, SAME_UPPER or SAME_LOWER is needed")
    totals = [
        max((-(-side // stride) - 1) * stride + span - side, 0)
        for side, stride, span in zip(size, window.strides, window.span, strict=True)
    ]
    less, more = [total // 2 for total in totals], [total - total // 2 for total in totals]
    before, after = (less, more) if mode == "SAME_UPPER" else (more, less)
    return dataclasses.replace(window, padding=(before[0], before[1], after[0], after[1]))


def read_pooling_window(node: Node, size: Pair) -> Window:
    """The window of a pooling operator; with ceil_mode padded so that the last one, which hangs over, counts.

    Raises
    ------
    ModelError
        As :func:`read_window`, and if it is dilated or rounded up in a way that is not defined alike everywhere.
    """
    window = read_window(node, size)
    if window.dilations != (1, 1):
        raise ModelError(f"its dilations are {window.dilations}, but only 1 can be used")
    if not node.integer("ceil_mode", 0):
        return window
    padded = _round_up(window)
    if padded != window and node.text("auto_pad", "NOTSET") != "NOTSET":
        raise ModelError("it has both ceil_mode and auto_pad, which are not combined alike everywhere")
    return padded


def _round_up(window: Window) -> Window:
    """The window with as much more padding behind the image as the last one, which hangs over, needs.

    Raises
    ------
    ModelError
        If a window would begin in the padding: versions of ONNX do not agree whether it counts.
    """
    extra = []
    for axis in (0, 1):
        before, after = window.padding[axis], window.padding[axis + 2]
        room, stride = window.size[axis] + before + after - window.span[axis], window.strides[axis]
        steps = -(-max(room, 0) // stride)
        if steps * stride >= window.size[axis] + before:
            raise ModelError("ceil_mode lets a window begin behind the image, which is not defined alike everywhere")
        extra.append(max(steps * stride - room, 0) if room >= 0 else 0)
    top, left, bottom, right = window.padding
    return dataclasses.replace(window, padding=(top, left, bottom + extra[0], right + extra[1]))


def _pair(node: Node, name: str, most: int) -> Pair:
    values = node.numbers(name)
    if values is None:
        return 1, 1
    if len(values) != 2 or not all(1 <= value <= most for value in values):
        raise ModelError(f"its {name} is {values[:8]}, but two numbers from 1 to {most} are needed")
    return values[0], values[1]


def _explicit_padding(node: Node) -> tuple[int, int, int, int]:
    values = node.numbers("pads")
    if values is None:
        return 0, 0, 0, 0
    if len(values) != 4 or not all(0 <= value <= MAX_SIDE for value in values):
        raise ModelError(f"its pads are {values[:8]}, but four numbers from 0 to {MAX_SIDE} are needed")
    return values[0], values[1], values[2], values[3]
