"""Which block RAMs of ECP5 a memory takes. Pure Python."""

SHAPES = ((36, 512), (18, 1024), (9, 2048), (4, 4096), (2, 8192), (1, 16384))
"""Bits and rows of one DP16KD (FPGA-TN-02204), in all its shapes."""

SMALL = 64  # rows up to which look-up tables make the better memory
BYTE = 9  # bits that are written together, or less in the shapes of less


def has_shape(depth: int) -> bool:
    """Return whether `celosia.hw.block_ram.add_block_ram` makes a memory of so many rows."""
    return SMALL < depth <= SHAPES[-1][1]


def pieces(width: int, lanes: int, depth: int) -> tuple[int, int, list[tuple[int, int, int]]]:
    """Cut words of a memory that `has_shape` into what is written together.

    Parameters
    ----------
    width, depth : int
        Bits of a word; words.
    lanes : int
        Equal parts of a word, written separately.

    Returns
    -------
    block_width, rows : int
        Shape of each block RAM.
    pieces : list of (lane, first bit, behind the last bit)
    """
    block_width, rows = next(shape for shape in SHAPES if shape[1] >= depth)
    byte, lane_width = min(block_width, BYTE), width // lanes
    cut = [
        (lane, start, min(start + byte, (lane + 1) * lane_width))
        for lane in range(lanes)
        for start in range(lane * lane_width, (lane + 1) * lane_width, byte)
    ]
    return block_width, rows, cut


def blocks(width: int, lanes: int, depth: int) -> int:
    """Return the block RAMs of such a memory, see `pieces`."""
    block_width, _, cut = pieces(width, lanes, depth)
    return -(-len(cut) // (block_width // min(block_width, BYTE)))


def stacked_blocks(width: int, lanes: int, depth: int) -> tuple[int, int]:
    """Return what synthesis makes of a memory deeper than any block RAM: the fewest of them, all of one shape.

    Parameters as of `pieces`; the depth may be any.

    Returns
    -------
    blocks, stack : int
        Block RAMs; how many of them have each bit of a word, at addresses one after the other.
    """
    counts = []
    for bits, rows in SHAPES:
        byte, stack = min(bits, BYTE), -(-depth // rows)
        cut = lanes * -(-(width // lanes) // byte)
        counts.append((-(-cut // (bits // byte)) * stack, stack))
    return min(counts)
