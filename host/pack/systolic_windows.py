"""Descriptors of products: the two walks over an image and over a window, and how their sums are drained.

`celosia.hw.systolic.layer` says what the fields mean.
"""

from dataclasses import dataclass

from celosia.host.pack.systolic_layout import Layout, Pair
from celosia.host.pack.systolic_product import Part, Product
from celosia.host.pack.systolic_tiles import Run, Tiling, cut, line_beats, sums_together
from celosia.hw.post.parameters import rounding_code
from celosia.hw.systolic.config import SystolicConfig
from celosia.hw.systolic.layer import Mode


@dataclass(frozen=True, kw_only=True)
class Walk:
    """Fields of a descriptor that say what is read and written where.

    Parameters
    ----------
    fields : dict
        Steps of addresses are signed.
    source_offset, destination_offset : int
        Words from the first pixel of the input to the place where the walk starts, and from the first pixel of the
        output to the first vector that is written.
    """

    fields: dict[str, int]
    source_offset: int
    destination_offset: int


def rectangles(part: Part, size: Pair) -> list[tuple[Pair, Pair]]:
    """Cut a part of an output into rectangles whose vectors are written at one pitch: whole rows, or columns."""
    rows, cols = part.rows, part.cols
    if cols == (0, size[1]) or rows[1] - rows[0] == 1:
        return [(rows, cols)]
    return [(rows, (col, col + 1)) for col in range(*cols)]


def walk(
    engine: SystolicConfig,
    product: Product,
    tiling: Tiling,
    run: Run,
    rectangle: tuple[Pair, Pair],
    source: Layout,
    destination: Layout,
    *,
    stream: bool,
) -> Walk:
    """Return the fields of the walk of a run over a rectangle of the output, given as rows and columns."""
    window, ((top, bottom), (left, right)) = product.window, rectangle
    rows, cols = bottom - top, right - left
    starts = (top * window.strides[0] - window.padding[0], left * window.strides[1] - window.padding[1])
    chunks = 1 if tiling.mode is Mode.CHANNELS else run.words[1] - run.words[0]
    fields = {
        **_pixels(product, tiling, (rows, cols), source),
        **_kernel(product, tiling, chunks, source),
        **_places(product, tiling, (rows, cols), starts),
        **_blocks(engine, product, tiling, (rows, cols), stream=stream),
        "k_tiles": run.k_tiles,
        "k_rows": run.k_rows,
        "k_edge": run.k_edge,
        "n_tiles": run.n_tiles,
        **_groups(engine, tiling, run, source),
    }
    down, aside = destination.pitches
    fields["destination_pitch"] = _pitch(destination, rows, cols)
    first = run.channels[0] // engine.rows if tiling.mode is Mode.MATRIX else 0
    return Walk(
        fields=fields,
        source_offset=starts[0] * source.pitches[0] + starts[1] * source.pitches[1] + run.words[0],
        destination_offset=top * down + left * aside + first,
    )


def _pixels(product: Product, tiling: Tiling, size: Pair, source: Layout) -> dict[str, int]:
    """Return the walk over pixels: the steps of its loops, 0 for loops of one position."""
    (down, aside), window = source.pitches, product.window
    line = line_beats(size[1], window.strides[1], tiling.used)
    stride = window.strides[1] if tiling.used == 1 else 1
    pool = window.kernel if product.pools else (1, 1)
    back = (pool[0] - 1) * down + (pool[1] - 1) * aside
    return {
        "pool_cols": pool[1],
        "pool_col_step": aside if pool[1] > 1 else 0,
        "pool_rows": pool[0],
        "pool_row_step": down - (pool[1] - 1) * aside if pool[0] > 1 else 0,
        "line": line,
        "col_step": stride * aside - back if line > 1 else 0,
        "line_step": window.strides[0] * down - (line - 1) * stride * aside - back if size[0] > 1 else 0,
        "lead": tiling.used - 1,
        "decimation": window.strides[1] - 1 if tiling.used > 1 else 0,
        "pack": tiling.pack.bit_length(),
        "pool": pool[0] * pool[1],
    }


def _kernel(product: Product, tiling: Tiling, chunks: int, source: Layout) -> dict[str, int]:
    """Return the walk over K tiles: the steps of its loops, 0 for loops of one position."""
    (down, aside), window = source.pitches, product.window
    kernel = (1, 1) if product.pools else window.kernel
    cols = -(-kernel[1] // tiling.used)
    col_step = tiling.used * window.dilations[1] * aside
    row_step = window.dilations[0] * down - (cols - 1) * col_step - (chunks - 1)
    return {
        "chunks": chunks,
        "kernel_cols": cols,
        "kernel_col_step": col_step - (chunks - 1) if cols > 1 else 0,
        "kernel_row_step": row_step if kernel[0] > 1 else 0,
    }


def _places(product: Product, tiling: Tiling, size: Pair, starts: Pair) -> dict[str, int]:
    """Return the moves of the place in the image; where no window reaches out of it, one pixel without moves."""
    window, used = product.window, tiling.used
    strides = (window.strides[0], window.strides[1] if used == 1 else 1)
    steps = (1, 1) if product.pools else (window.dilations[0], used * window.dilations[1])
    positions = (window.kernel[0], -(-window.kernel[1] // (1 if product.pools else used)))
    lines = (size[0], line_beats(size[1], window.strides[1], used))
    lasts = [
        start + (line - 1) * stride + (count - 1) * step
        for start, line, stride, count, step in zip(starts, lines, strides, positions, steps, strict=True)
    ]
    inside = [end - max(start, 0) for end, start in zip(window.in_size, starts, strict=True)]
    moves = min(starts) < 0 or any(last >= end for last, end in zip(lasts, window.in_size, strict=True))
    pools, kernel = int(moves and product.pools), int(moves and not product.pools)
    return {
        "in_rows": inside[0] if moves else 1,
        "in_cols": inside[1] if moves else 1,
        "pad_top": max(-starts[0], 0),
        "pad_left": max(-starts[1], 0),
        "pad_value": product.pad_value,
        "pool_stride_rows": pools,
        "pool_stride_cols": pools,
        "stride_rows": strides[0] * moves,
        "stride_cols": strides[1] * moves,
        "dilation_rows": steps[0] * kernel,
        "dilation_cols": steps[1] * kernel,
    }


def _blocks(engine: SystolicConfig, product: Product, tiling: Tiling, size: Pair, *, stream: bool) -> dict[str, int]:
    unit = sums_together(product, size[1], tiling.used)
    sums = size[0] * size[1] * (unit if product.pools else 1)
    blocks = cut(engine, tiling.mode, sums, unit, stream=stream)
    return {"blocks": blocks.count, "block_rows": blocks.rows, "last_block_rows": blocks.last}


def _groups(engine: SystolicConfig, tiling: Tiling, run: Run, source: Layout) -> dict[str, int]:
    """Return how many groups of channels an N tile has, and the last one, and where the next tile's input is."""
    lanes = engine.resolved_post_lanes
    if tiling.mode is Mode.MATRIX:
        last = run.channels[1] - run.channels[0] - (run.n_tiles - 1) * engine.cols
        return {"n_groups": engine.cols // lanes, "n_edge": -(-last // lanes), "n_step": 0}
    return {"n_groups": engine.rows // lanes, "n_edge": edge_groups(engine, source), "n_step": 1}


def edge_groups(engine: SystolicConfig, source: Layout) -> int:
    """Return the groups of channels of the last word of a pixel."""
    last = int((source.lanes[-1] >= 0).nonzero()[0].max())
    return last // engine.resolved_post_lanes + 1


def pixel_by_pixel(engine: SystolicConfig, source: Layout, destination: Layout, size: Pair, other: int) -> Walk:
    """Return the walk of an addition over two tensors that lie alike, the second one `other` words behind the first."""
    (rows, cols), (down, aside) = size, source.pitches
    blocks = cut(engine, Mode.LOOKUP, rows * cols, 1)
    fields = {
        **dict.fromkeys(("pool_col_step", "pool_row_step", "kernel_row_step", "pad_top", "pad_left", "pad_value"), 0),
        **dict.fromkeys(("pool_stride_rows", "pool_stride_cols", "stride_rows", "stride_cols"), 0),
        **dict.fromkeys(("dilation_rows", "dilation_cols", "lead", "decimation", "pack", "k_rows", "k_edge"), 0),
        **dict.fromkeys(("pool_cols", "pool_rows", "pool", "chunks", "in_rows", "in_cols", "n_step"), 1),
        "line": cols,
        "col_step": aside if cols > 1 else 0,
        "line_step": down - (cols - 1) * aside if rows > 1 else 0,
        "kernel_cols": 2,
        "kernel_col_step": other,
        "blocks": blocks.count,
        "block_rows": blocks.rows,
        "last_block_rows": blocks.last,
        "k_tiles": 2,
        "n_tiles": source.words,
        "n_groups": engine.rows // engine.resolved_post_lanes,
        "n_edge": edge_groups(engine, source),
        "destination_pitch": _pitch(destination, rows, cols),
    }
    return Walk(fields=fields, source_offset=0, destination_offset=0)


def _pitch(destination: Layout, rows: int, cols: int) -> int:
    """Return the words from a vector to the next one; 0 if there is none, as those of one may be too many to tell."""
    down, aside = destination.pitches
    if rows * cols == 1:
        return 0
    return down if cols == 1 else aside


def requantization(rounding: str, zero_point: int, minimum: int, maximum: int) -> dict[str, int]:
    """Return the fields of the requantizers."""
    return {
        "rounding": rounding_code(rounding),
        "zero_point": zero_point,
        "minimum": minimum,
        "maximum": maximum,
    }


def step_beats(fields: dict[str, int]) -> int:
    """Return the beats of a step: vectors that are read for each tile, those that do not sum included."""
    sums = (fields["blocks"] - 1) * fields["block_rows"] + fields["last_block_rows"]
    if fields["lead"] or fields["decimation"]:
        of_line = (fields["line"] - fields["lead"] - 1) // (fields["decimation"] + 1) + 1
        sums = sums // of_line * fields["line"]
    return sums * fields["k_tiles"] * fields["n_tiles"]
