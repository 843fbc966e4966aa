"""Labels in a picture that cover neither each other nor the points they name."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np

LABELS: Final = 6  # beside the first
TRIED: Final = 40  # points at most that are tried for them
APART: Final = 30  # pixels between labelled points, at least
ROOM: Final = 4  # pixels around a label or a point
DISTANCES: Final = (10, 24, 42, 64)  # points, 1/72 inch, from a label to what it names
WEIGHTS: Final = {True: "bold", False: "normal"}  # of the first, of the others


def label(
    figure: Any, axes: Any, places: np.ndarray, names: Sequence[str], others: np.ndarray, better: tuple[int, int]
) -> None:
    """Label points where there is room: the first, then those farthest from the points labelled so far.

    No label covers a point, except the first if there is no room for it at all.

    Parameters
    ----------
    figure, axes : matplotlib Figure and Axes
        With everything else drawn; the size and the limits that they have now are those of the picture.
    places : ndarray of float, (points, 2)
    names : sequence of str
    others : ndarray of float, (others, 2)
        Points without a name.
    better : tuple of int
        The sides, ±1 along x and y, towards which there are no other points.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw_without_rendering()
    points = axes.transData.transform(places)
    everything = np.vstack([points, axes.transData.transform(others)])
    taken: list[np.ndarray] = []
    for covered in (everything, points, points[:1]):
        if _place(axes, renderer, (places[0], names[0]), covered, taken, better, is_first=True):
            break
    labelled = [0]
    left = list(range(1, len(names)))
    for _ in range(TRIED):
        distances = [np.hypot(*(points[labelled] - points[index]).T).min() for index in left]
        if not left or len(labelled) > LABELS or max(distances) < APART:
            return
        index = left.pop(int(np.argmax(distances)))
        if _place(axes, renderer, (places[index], names[index]), everything, taken, better, is_first=False):
            labelled.append(index)


def _place(
    axes: Any,
    renderer: Any,
    named: tuple[np.ndarray, str],
    points: np.ndarray,
    taken: list[np.ndarray],
    better: tuple[int, int],
    *,
    is_first: bool,
) -> bool:
    """Draw a label where there is room and add its box to `taken`; return whether there was room.

    Boxes are ((left, bottom), (right, top)), in pixels.
    """
    place, name = named
    note = axes.annotate(
        name,
        place,
        xytext=(0, 0),
        textcoords="offset points",
        fontsize=9 if is_first else 8,
        fontweight=WEIGHTS[is_first],
        linespacing=1.1,
        parse_math=False,
        zorder=6,
        bbox={"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 1},
        arrowprops={"arrowstyle": "-", "color": "#888888", "linewidth": 0.6, "shrinkA": 0, "shrinkB": 4},
    )
    note.set_in_layout(False)  # room for it is looked for in the layout there is
    inside = np.array(axes.get_window_extent(renderer).get_points())
    for offset in _offsets(better):
        note.set_position(offset)
        note.set_horizontalalignment("center" if not offset[0] else "left" if offset[0] > 0 else "right")
        note.set_verticalalignment("center" if not offset[1] else "bottom" if offset[1] > 0 else "top")
        note.update_positions(renderer)
        box = _text_box(note, renderer)
        fits = (box[0] >= inside[0]).all() and (box[1] <= inside[1]).all()
        covers = ((points > box[0] - ROOM) & (points < box[1] + ROOM)).all(axis=1).any()
        if fits and not covers and not any(_overlap(box, other) for other in taken):
            taken.append(box)
            return True
    note.remove()
    return False


def _offsets(better: tuple[int, int]) -> Iterator[tuple[float, float]]:
    """Yield where a label can be, from its point, in points: near ones first, and first where nothing else is."""
    x, y = better
    for distance in DISTANCES:
        for right, up in ((x, y), (x, 0), (0, y), (x, -y), (-x, y), (-x, 0), (0, -y), (-x, -y)):
            share = 0.75 if right and up else 1.0
            yield right * distance * share, up * distance * share


def _text_box(note: Any, renderer: Any) -> np.ndarray:
    from matplotlib.text import Text

    # Without the line to its point, which an annotation's own extent has in it.
    return np.array(Text.get_window_extent(note, renderer).get_points())


def _overlap(one: np.ndarray, other: np.ndarray) -> bool:
    return bool((one[0] < other[1] + ROOM).all() and (other[0] < one[1] + ROOM).all())
