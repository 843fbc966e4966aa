import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from celosia.sim.explore.labels import LABELS, label


def labelled(places, others, names=None, *, better=(-1, -1)):
    """Return the labels by their text: boxes in pixels; and where the points are."""
    figure = Figure(figsize=(8, 6), layout="constrained")
    axes = figure.subplots()
    axes.scatter(*np.vstack([places, others]).T)
    axes.margins(0.1)
    label(figure, axes, places, names or [f"point {n}" for n in range(len(places))], others, better)
    renderer = FigureCanvasAgg(figure).get_renderer()
    boxes = {each.get_text(): Text.get_window_extent(each, renderer) for each in axes.texts}
    return boxes, axes.transData.transform(np.vstack([places, others])), axes.get_window_extent(renderer)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("better", [(-1, -1), (1, 1)])
def test_labels_cover_nothing(seed, better):
    rng = np.random.default_rng(seed)
    across = np.sort(rng.random(80))
    side = -better[0]
    places = np.column_stack([across, 1 / (across + 0.2)]) * side
    others = places[rng.integers(0, 80, 1000)] + side * rng.random((1000, 2)) * (0.5, 2)
    boxes, points, inside = labelled(places, others, better=better)
    assert len(boxes) == LABELS + 1
    assert "point 0" in boxes
    for box in boxes.values():
        assert box.count_contains(points) == 0
        assert box.count_overlaps([other for other in boxes.values() if other is not box]) == 0
        assert inside.x0 <= box.x0 < box.x1 <= inside.x1
        assert inside.y0 <= box.y0 < box.y1 <= inside.y1


def test_the_first_is_labelled_even_in_a_crowd():
    grid = np.stack(np.meshgrid(np.linspace(0, 1, 60), np.linspace(0, 1, 60)), axis=-1).reshape(-1, 2)
    boxes, _, _ = labelled(np.array([[0.5, 0.5], [0.6, 0.6]]), grid)
    assert set(boxes) == {"point 0"}


def test_labels_do_not_cover_each_other():
    """In a row of points there is room for labels, but not for all of them at the same height."""
    places = np.column_stack([np.linspace(0, 1, 12), np.zeros(12)])
    boxes, _, _ = labelled(places, np.empty((0, 2)), [f"a label that is wider than {n}" for n in range(12)])
    assert len(boxes) == LABELS + 1
    for box in boxes.values():
        assert box.count_overlaps([other for other in boxes.values() if other is not box]) == 0


@pytest.mark.parametrize("better", [(-1, -1), (-1, 1), (1, -1), (1, 1)])
def test_labels_stay_inside(better):
    places = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    names = [f"a label of corner {n}\nthat is far higher\nand far wider\nthan the margin" for n in range(4)]
    boxes, _, inside = labelled(places, np.empty((0, 2)), names, better=better)
    assert len(boxes) == 4
    for box in boxes.values():
        assert inside.x0 <= box.x0 < box.x1 <= inside.x1
        assert inside.y0 <= box.y0 < box.y1 <= inside.y1


def test_near_points_share_a_label():
    places = np.array([[0.0, 0.0], [1.0, 1.0], [1.001, 1.001]])
    boxes, _, _ = labelled(places, np.empty((0, 2)))
    assert len(boxes) == 2


def test_a_single_point_is_labelled():
    boxes, _, _ = labelled(np.array([[5.0, 5.0]]), np.empty((0, 2)), ["only"])
    assert set(boxes) == {"only"}
