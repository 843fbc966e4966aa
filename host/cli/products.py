"""Random matrix products for an engine to compute."""

from typing import Any

import numpy as np

from celosia.host.models.binary import BinaryDense
from celosia.host.models.compressed import CompressedDense
from celosia.host.models.integers import BIPOLAR, integer_range
from celosia.host.models.ir import Dense, Layer, Network
from celosia.hw.config import AcceleratorConfig

DENSITY, ACTIVE = 0.1, 0.35  # shares of weights and of activations that are not zero, as EIE's layers have them


def random_product(
    config: AcceleratorConfig,
    M: int,
    K: int,
    N: int,
    seed: int,
    *,
    density: float | None = None,
    active: float | None = None,
) -> tuple[Network, np.ndarray]:
    """Return a random layer (K, N) as wide as the config allows, and M inputs: (M, K) integers.

    Parameters
    ----------
    config : AcceleratorConfig
    M, K, N : int
        Rows of the inputs, columns of the inputs, columns of the results.
    seed : int
    density, active : float or None
        Share of the weights, of the activations that are not zero; None: what is typical of the engine. With a density
        the binary engine's weights are ternary; its activations are bipolar, or of one bit if some are zero.
    """
    rng = np.random.default_rng(seed)
    engine: Any = config.engine
    if config.engine_name == "binary":
        return _binary(rng, M, K, N, density, active)
    low, high = engine.activation_range
    inputs = rng.integers(low, high + 1, (M, K))
    sparse = config.engine_name == "sparse"
    density = density if density is not None else DENSITY if sparse else 1.0
    active = active if active is not None else ACTIVE if sparse else 1.0
    used = rng.random((K, N)) < density
    layer = (_compressed if sparse else _dense)(engine, rng, used)
    if active < 1:
        inputs = np.where(rng.random((M, K)) < active, inputs, 0)
    return Network(name="product", layers=[layer], input_shape=(K,)), inputs


def _binary(
    rng: np.random.Generator, M: int, K: int, N: int, density: float | None, active: float | None
) -> tuple[Network, np.ndarray]:
    weights = rng.choice(np.array([-1, 1], np.int8), (K, N))
    if density is not None:
        weights = np.where(rng.random((K, N)) < density, weights, 0)
    inputs = rng.choice([-1, 1], (M, K)) if active is None else (rng.random((M, K)) < active).astype(np.int64)
    layer = BinaryDense(
        name="product",
        weights=weights,
        thresholds=np.rint(rng.normal(0, np.sqrt(K) / 2, (N, 1))).astype(np.int64),
        input_dtype=BIPOLAR if active is None else "uint1",
    )
    return Network(name="product", layers=[layer], input_shape=(K,)), inputs


def _dtype(engine: Any) -> str:
    return f"{'' if engine.activation_signed else 'u'}int{engine.activation_width}"


def _dense(engine: Any, rng: np.random.Generator, used: np.ndarray) -> Layer:
    (K, N), width = used.shape, engine.weight_width
    low, high = integer_range(_dtype(engine))
    spread = width - 1 + np.log2(K) / 2  # bits by which a typical sum is wider than an activation
    weights = np.where(used, rng.integers(-(1 << width - 1), 1 << width - 1, (K, N)), 0)
    return Dense(
        name="product",
        weights=weights.astype(np.int8 if width <= 8 else np.int16),
        bias=rng.integers(-1000, 1001, (N,)),
        multiplier=rng.integers(1 << 30, 1 << 31, (N,)),
        shift=np.full(N, -int(spread)),
        rounding="double",
        input_zero_point=int(rng.integers(low, high + 1)),
        output_zero_point=int(rng.integers(low, high + 1)),
        minimum=low,
        maximum=high,
        input_dtype=_dtype(engine),
        output_dtype=_dtype(engine),
    )


def _compressed(engine: Any, rng: np.random.Generator, used: np.ndarray) -> Layer:
    (K, N), (smallest, largest) = used.shape, engine.weight_range
    codebook = None
    if engine.codebook_width is None:
        codes = np.where(used, rng.integers(smallest, largest + 1, (K, N)), 0).astype(np.int16)
    else:
        size = 1 << engine.codebook_width
        codebook = np.concatenate([[0], rng.integers(smallest, largest + 1, size - 1)])
        codes = np.where(used, rng.integers(1, size, (K, N)), 0).astype(np.uint8)
    low, high = engine.activation_range
    return CompressedDense(
        name="product",
        codes=codes,
        codebook=codebook,
        bias=rng.integers(-1000, 1001, (N,)),
        shift=max(int(engine.weight_width - 2 + np.log2(max(used.sum() / N, 1)) / 2), 0),
        minimum=low,
        maximum=high,
        input_dtype=_dtype(engine),
        output_dtype=_dtype(engine),
    )
