"""Where the multipliers of an array belong on a chip.

Left to itself, place and route puts the multipliers of a column far apart, and the wires between them decide the clock
rate: 160 instead of 220 MHz for 8 × 8 on an ECP5-85F. So a column's multipliers, through which its psums run, go side
by side, and the columns one after the other, back and forth over the chip's rows of multipliers.
"""

from dataclasses import dataclass

from celosia.boards.devices import Device


@dataclass(frozen=True, kw_only=True)
class _Sites:
    """Multipliers of a chip: blocks of four side by side, in some rows."""

    blocks: tuple[int, ...]  # column where each block begins
    rows: tuple[int, ...]

    def row(self, y: int, *, sparse: bool) -> list[str]:
        """Names of a row's multipliers from left to right; only every other one if `sparse`."""
        # A block is nine columns wide; two multipliers begin in its first two, two in its fifth and sixth.
        offsets = ((0, 0), (4, 4)) if sparse else ((0, 0), (1, 1), (4, 4), (5, 5))
        return [f"X{block + dx}/Y{y}/MULT18_{index}" for block in self.blocks for dx, index in offsets]


# As nextpnr names them, read off a design that uses all of them.
_SITES = {
    "ecp5-85f": _Sites(blocks=(4, 13, 22, 31, 40, 49, 58, 69, 78, 87, 96, 105, 114), rows=(10, 34, 58)),
}


def array_sites(device: Device, rows: int, cols: int) -> dict[str, str]:
    """Return the place of each multiplier of a `rows` × `cols` systolic array.

    Uses every other multiplier of the chip if that is enough, as wires are then shorter.

    Parameters
    ----------
    device : Device
        The chip.
    rows, cols : int
        Size of the array.

    Returns
    -------
    dict of str to str
        End of the hierarchical name of the multiplier's cell → nextpnr's name of the place. Empty for a chip whose
        multipliers are not known here, and for an array that does not fit on it column by column.
    """
    chip = _SITES.get(device.name)
    if chip is None:
        return {}
    for sparse in (True, False):
        lines = [chip.row(y, sparse=sparse) for y in chip.rows]
        columns_per_line = len(lines[0]) // rows
        if columns_per_line * len(lines) >= cols:
            return _fill(lines, rows, cols)
    return {}


def _fill(lines: list[list[str]], rows: int, cols: int) -> dict[str, str]:
    used = -(-cols // (len(lines[0]) // rows))  # lines
    width = -(-cols // used)  # columns on a line
    sites = {}
    for col in range(cols):
        line, place = divmod(col, width)
        if line % 2:  # back again
            place = width - 1 - place
        margin = (len(lines[line]) - width * rows) // 2
        for row in range(rows):
            sites[f"pe_{row}_{col}.multiplier.dsp"] = lines[line][margin + place * rows + row]
    return sites
