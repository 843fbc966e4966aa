import numpy as np
import pytest

from celosia.host.cluster import kmeans, share_weights


def lloyd(values: np.ndarray, count: int, steps: int = 1000) -> np.ndarray:
    """Plain Lloyd with linear initialisation; None of its clusters may become empty."""
    values = values.astype(np.float64)
    centroids = np.linspace(values.min(), values.max(), count)
    for _ in range(steps):
        nearest = np.abs(values[:, None] - centroids).argmin(axis=1)
        means = np.array([values[nearest == index].mean() for index in range(count)])
        if np.array_equal(means, centroids):
            break
        centroids = means
    return centroids


def inertia(values: np.ndarray, centroids: np.ndarray) -> float:
    return float((np.abs(values[:, None].astype(float) - centroids).min(axis=1) ** 2).sum())


@pytest.mark.parametrize("count", [1, 2, 3, 7, 15, 31])
def test_equals_plain_lloyd(count):
    seed = count
    rng = np.random.default_rng(seed)
    values = rng.uniform(-1, 2, 3000).astype(np.float32)
    rng.shuffle(values)
    np.testing.assert_allclose(kmeans(values, count), lloyd(values, count), rtol=0, atol=1e-6, err_msg=f"seed {seed}")


def test_no_centroid_stays_without_values():
    # as after pruning: nothing near 0, where linear initialisation puts centroids, and two outliers
    rng = np.random.default_rng(8)
    values = rng.normal(0, 1, 20000).astype(np.float32)
    values = np.append(values[np.abs(values) > 1.5], np.float32([-30, 40]))
    centroids = kmeans(values, 15)
    nearest = np.abs(values[:, None] - centroids).argmin(axis=1)
    assert np.array_equal(np.unique(nearest), np.arange(15))
    means = [values[nearest == index].astype(float).mean() for index in range(15)]
    np.testing.assert_allclose(centroids, means, rtol=1e-6)
    assert inertia(values, centroids) < 0.1 * inertia(values, np.linspace(-30, 40, 15))


@pytest.mark.parametrize("distinct", [1, 2, 14, 15])
def test_few_values_stay_as_they_are(distinct):
    seed = distinct
    rng = np.random.default_rng(seed)
    values = rng.normal(size=distinct).astype(np.float32)
    weights = rng.choice(np.append(values, np.float32(0)), (40, 30))
    shared = share_weights(weights, 4)
    assert np.array_equal(shared.weights, weights), f"seed {seed}"
    assert shared.weights.dtype == np.float32
    assert np.array_equal(shared.centroids, np.unique(weights[weights != 0]))
    assert shared.codes.dtype == np.uint8


def test_neighbouring_floats_are_told_apart():
    one = np.float32(1)
    values = np.array([one, np.nextafter(one, np.float32(2)), np.nextafter(one, np.float32(0))])
    assert np.array_equal(share_weights(values, 2).weights, values)


@pytest.mark.parametrize("width", [2, 4, 8])
def test_each_weight_gets_the_nearest_value(width):
    seed = width
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=(50, 60)).astype(np.float32) * (rng.random((50, 60)) < 0.4)
    shared = share_weights(weights, width)
    assert np.array_equal(shared.codes == 0, weights == 0)
    assert shared.codes.max() == len(shared.centroids) == 2**width - 1
    used = weights[weights != 0]
    nearest = np.abs(used[:, None].astype(float) - shared.centroids).min(axis=1)
    np.testing.assert_allclose(np.abs(used - shared.weights[weights != 0]), nearest, atol=1e-7, err_msg=f"seed {seed}")
    assert np.array_equal(share_weights(weights, width).codes, shared.codes)


def test_a_layer_of_zeros():
    shared = share_weights(np.zeros((3, 2), np.float32), 4)
    assert not shared.codes.any()
    assert not shared.centroids.size
    assert not shared.weights.any()


def test_a_value_half_way_belongs_to_the_lower_centroid():
    # 1 is half way between 0.5 and 1.5, where the centroids begin
    assert kmeans(np.float32([0.5, 1, 1.5, 1.25]), 2).tolist() == [0.75, 1.375]
