"""The weight-stationary systolic array: a grid of PEs and the skew around it."""

from typing import Any

from amaranth.hdl import Module, Mux, Shape, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from celosia.hw.pipeline import delay
from celosia.hw.systolic.config import SystolicConfig
from celosia.hw.systolic.pe import PE
from celosia.hw.unmerged import UnmergedRegister


class SystolicArray(wiring.Component):
    """Multiplies one activation vector per cycle by a tile of weights, while the next tile is shifted in.

    What enters in one cycle is a *wave*: `activations` (one lane per row), `weights` (one lane per column), `swap` and
    `shift`. It reaches row r after r cycles and column c after c more, so that psums, which start at row 0 and leave
    from the last row, meet the products of their own wave. To the caller a wave acts as a whole, in this order:

    * a `swap` wave makes the shadow weights active, for itself and all later waves;
    * a `shift` wave moves the shadow weights of every row to the next row and takes `weights` into row 0: k shift
      waves, with or without other waves between them, load rows 0 to k − 1, and the first of them ends in row k − 1;
      rows from k on then hold stale weights, for which the activations must be 0;
    * every wave's `activations` are multiplied by the active weights.

    So one tile computes while the next is shifted in, and the wave that swaps to a tile may be the first shift wave of
    the tile after it.

    With `channels`, column c multiplies lane c alone, in its first `taps` rows, all of which see it in the cycle in
    which row 0 would: row r gives the sum of a wave the product with the lane of r waves later. That holds from the
    first wave of a layer until its last sum. `lanes`, of an engine with lookup tables, are the activations as they
    enter, lane r in the cycle in which row r takes it.

    Latency: `LATENCY` cycles from a wave's entry to its sum in `psums[0]`; column c is c cycles later, as it is written
    to an accumulator column of its own. Throughput: one wave per cycle. No back-pressure and no valid: the caller
    counts. Sums are as wide as their worst case, so they cannot overflow.

    Parameters
    ----------
    config : SystolicConfig
        Size and widths.
    """

    activations: data.View
    weights: data.View
    swap: Signal
    shift: Signal
    channels: Signal
    lanes: data.View
    psums: data.View

    def __init__(self, config: SystolicConfig) -> None:
        self._config = config
        self.LATENCY = config.array_latency
        activation = Shape(config.activation_width, config.activation_signed)
        lanes = {"lanes": Out(data.ArrayLayout(activation, config.rows))} if config.lookup_tables else {}
        super().__init__(
            {
                "activations": In(data.ArrayLayout(activation, config.rows)),
                "weights": In(data.ArrayLayout(signed(config.weight_width), config.cols)),
                "swap": In(1),
                "shift": In(1),
                "channels": In(1),
                **lanes,
                "psums": Out(data.ArrayLayout(signed(config.column_width), config.cols)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Return the grid of PEs."""
        m = Module()
        rows, cols = self._config.rows, self._config.cols
        grid = [[PE(self._config, row=row) for _ in range(cols)] for row in range(rows)]
        for row in range(rows):
            for col in range(cols):
                m.submodules[f"pe_{row}_{col}"] = grid[row][col]
        lanes = [delay(m, self.activations[row], row, f"activation_{row}") for row in range(rows)]
        if self._config.lookup_tables:
            m.d.comb += [self.lanes[row].eq(lane) for row, lane in enumerate(lanes)]
        self._connect_left(m, grid, lanes)
        for row in range(rows):
            for col in range(1, cols):
                from_above = row < self._config.resolved_taps and col < rows
                self._connect_right(m, grid[row][col - 1], grid[row][col], lanes[col] if from_above else None)
        for col in range(cols):
            m.d.comb += grid[0][col].i_weight.eq(delay(m, self.weights[col], col, f"weight_{col}"))
            for row in range(1, rows):
                _connect_down(m, grid[row - 1][col], grid[row][col])
            m.d.comb += self.psums[col].eq(grid[-1][col].o_psum)
        return m

    def _connect_left(self, m: Module, grid: list[list[PE]], lanes: list[Any]) -> None:
        """Give each row its activations; swap and shift go down from row to row."""
        swap, shift = self.swap, self.shift
        for row, pes in enumerate(grid):
            if row > 0:
                swap = _next_row(m, swap, f"swap_{row}")
                shift = _next_row(m, shift, f"shift_{row}")
            entering = lanes[row]
            if self._config.resolved_taps:
                entering = Mux(self.channels, lanes[0] if row < self._config.resolved_taps else 0, entering)
            m.d.comb += [
                pes[0].i_activation.eq(entering),
                pes[0].i_swap.eq(swap),
                pes[0].i_shift.eq(shift),
            ]

    def _connect_right(self, m: Module, left: PE, right: PE, above: Value | None) -> None:
        activation: Value = left.o_activation
        if above is not None:
            activation = Mux(self.channels, above, activation)
        m.d.comb += [
            right.i_activation.eq(activation),
            right.i_swap.eq(left.o_swap),
            right.i_shift.eq(left.o_shift),
        ]


def _next_row(m: Module, control: Signal, name: str) -> Signal:
    m.submodules[name] = register = UnmergedRegister()
    m.d.comb += register.i.eq(control)
    return register.o


def _connect_down(m: Module, above: PE, below: PE) -> None:
    m.d.comb += [below.i_weight.eq(above.o_weight), below.i_psum.eq(above.o_psum)]
