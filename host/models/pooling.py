"""Maximum and average over windows of an image (H, W, C), channel by channel, in integers."""

from dataclasses import dataclass

from celosia.host.models.checks import layer_label
from celosia.host.models.errors import ModelError
from celosia.host.models.integers import activation_range
from celosia.host.models.requantization import check_clamp, set_integer, set_integers
from celosia.host.models.window import MAX_SIDE, Pair, WindowLayer


@dataclass(frozen=True, kw_only=True, eq=False)
class Pool2d(WindowLayer):
    """Pooling: what both kinds have.

    What is outside of the image is no part of any window. Inputs and outputs have one type, scale and zero point.

    Parameters
    ----------
    name : str
        Name of the layer.
    input_shape : tuple of int
        (H, W, C).
    kernel, strides : tuple of int
        Along H and W, 1 or more.
    padding : tuple of int
        Rows above, columns to the left, rows below, columns to the right; each less than the kernel.
    zero_point : int
        The integer that stands for 0.0.
    minimum, maximum : int
        Clamp of the output.
    dtype : str
        Type of the activations.

    Raises
    ------
    ModelError
        If a value is outside of what is said above.
    """

    name: str
    input_shape: tuple[int, int, int]
    kernel: Pair
    strides: Pair = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    zero_point: int
    minimum: int
    maximum: int
    dtype: str = "int8"

    def __post_init__(self) -> None:
        where = layer_label(self.name)
        set_integers(self, "input_shape", 3, 1, MAX_SIDE)
        set_integers(self, "kernel", 2, 1, MAX_SIDE)
        self._check_window()
        if any(pad >= side for pad, side in zip(self.padding, [*self.kernel, *self.kernel], strict=True)):
            raise ModelError(f"{where}: padding {self.padding} must be less than the kernel, {self.kernel}.")
        set_integer(self, "zero_point", *activation_range(self.dtype))
        check_clamp(self)

    @property
    def input_size(self) -> Pair:
        """(H, W) of the input."""
        return self.input_shape[:2]

    @property
    def dilations(self) -> Pair:
        """Distance of neighbouring elements of a window: always 1."""
        return 1, 1

    @property
    def output_shape(self) -> tuple[int, int, int]:
        """``(H, W, C)``."""
        return *self.output_size, self.input_shape[2]

    @property
    def input_dtype(self) -> str:
        """Type of the inputs."""
        return self.dtype

    @property
    def output_dtype(self) -> str:
        """Type of the outputs."""
        return self.dtype

    @property
    def input_zero_point(self) -> int:
        """The integer that stands for 0.0."""
        return self.zero_point

    @property
    def output_zero_point(self) -> int:
        """The integer that stands for 0.0."""
        return self.zero_point

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one input: none."""
        return 0


class MaxPool2d(Pool2d):
    """The largest input of each window, clamped; parameters as of :class:`Pool2d`."""


class AveragePool2d(Pool2d):
    """The average of each window, rounded and clamped; parameters as of :class:`Pool2d`.

    The sum of the inputs, without regard to the zero point, is divided by their number, half away from zero, as in
    TensorFlow Lite; where padding clips a window, by the number of those inside.
    """
