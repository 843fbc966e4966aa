"""Networks by hand on two small sparse cores: results are the models' and, where nothing saturates, plain sums."""

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from celosia.host.compile import compile_network
from celosia.host.models.compressed import CompressedDense
from celosia.host.models.ir import Network
from celosia.host.pack.sparse_layers import SparseOptions
from celosia.host.program import Program
from celosia.hw.config import AcceleratorConfig
from celosia.hw.protocol import RUN_FIELDS
from celosia.hw.sparse.config import SparseConfig
from celosia.sim import reference
from celosia.sim.core import Stalls
from celosia.sim.golden.sparse import run_layer, saturating_sums

PATIENCE = 20_000  # cycles
DEPTHS = {"program_depth": 512, "input_depth": 512, "activation_depth": 512, "output_depth": 512}
WIDE = AcceleratorConfig(
    engine=SparseConfig(pes=3, queue_depth=8, index_width=6, accumulator_rows=64, pointer_depth=1024),
    weight_depth=256,
    **DEPTHS,
)
NARROW = AcceleratorConfig(
    engine=SparseConfig(
        pes=4, queue_depth=1, index_width=4, accumulator_width=24, accumulator_rows=8, group=2, decoders=1
    ),
    weight_depth=48,
    watchdog_cycles=1000,
    **DEPTHS,
)


def layer(weights: Any, *, bias: Any = 0, name: str = "layer", **changes: Any) -> CompressedDense:
    """Return a layer of some weights (K, N), which have few different values: 0, then those in ascending order."""
    weights = np.asarray(weights)
    values = np.unique(weights[weights != 0])
    codes = np.where(weights != 0, np.searchsorted(values, weights) + 1, 0)
    fields = {
        "name": name,
        "codes": codes.astype(np.uint8),
        "codebook": np.array([0, *values] if len(values) else [0, 1]),
        "bias": np.broadcast_to(bias, weights.shape[1]).astype(np.int64),
        "shift": 0,
        "minimum": -(1 << 15),
        "maximum": (1 << 15) - 1,
        "input_dtype": "int16",
        "output_dtype": "int16",
    }
    return CompressedDense(**(fields | changes))


def on_one_pe(by_slot: Any, config: AcceleratorConfig = WIDE, pe: int = 0) -> np.ndarray:
    """Return weights (K, slots · PEs) that are all in one PE, where rows are dealt in order: `by_slot` (K, slots)."""
    by_slot = np.asarray(by_slot)
    K, slots = by_slot.shape
    weights = np.zeros((K, slots, config.engine.pe_count), dtype=np.int64)
    weights[:, :, pe] = by_slot
    return weights.reshape(K, -1)


def compile_layers(
    config: AcceleratorConfig, layers: Sequence[CompressedDense], batch: int, options: SparseOptions | None
) -> Program:
    network = Network(name="by hand", layers=list(layers), input_shape=(layers[0].codes.shape[0],))
    return compile_network(network, config, batch=batch, options=options)


def plain_sums(layers: Sequence[CompressedDense], x: np.ndarray) -> np.ndarray:
    """Return the outputs in whole numbers of any size."""
    for each in layers:
        acc = x.astype(object) @ each.weights.astype(object) + each.bias.astype(object)
        x = np.clip((acc + (1 << each.shift >> 1)) // (1 << each.shift), each.minimum, each.maximum)
    return x.astype(np.int64)


def saturates(program: Program, x: np.ndarray) -> bool:
    """Return whether an accumulator does."""
    found = False
    for plan in program.layers:
        engine = program.config.engine
        found |= saturating_sums(plan.arranged, x, engine.accumulator_width)[1]
        x = run_layer(plan.arranged, x, engine)
    return found


class Bench:
    """Compiles, runs and compares."""

    def __init__(self, promise: SimpleNamespace) -> None:
        self._promise = promise

    def check(
        self,
        layers: CompressedDense | Sequence[CompressedDense],
        x: Any,
        options: SparseOptions | None = None,
        *,
        config: AcceleratorConfig = WIDE,
        batch: int | None = None,
        stalls: Stalls | None = None,
        memories: Mapping[str, Any] | None = None,
        stream: bool = False,
    ) -> Any:
        """Run a network on inputs (n, K), as a program for `batch` of them; `memories` are written over its images."""
        layers, x = [layers] if isinstance(layers, CompressedDense) else list(layers), np.atleast_2d(x)
        program = compile_layers(config, layers, batch or len(x), options)
        self._promise.load(program, stalls)
        for memory, words in (memories or {}).items():
            self._promise.core(config).write(memory, words)
        outcome = self._promise.run(program, x, stream or len(x) > program.vectors, stalls)
        self._compare(program, x, outcome.outputs)
        return outcome

    def core(self, config: AcceleratorConfig) -> Any:
        """Return the simulated core."""
        return self._promise.core(config)

    def again(self, program: Program, x: Any) -> None:
        """Run a loaded program on inputs that are in their memory, as soon as the core is ready, without a reset."""
        core, x = self._promise.core(program.config), np.atleast_2d(x)
        assert len(x) == program.vectors
        parameters = program.run_parameters(1, stream=False)
        packed = offset = 0
        for name, width in RUN_FIELDS.items():
            packed |= getattr(parameters, name) << offset
            offset += width
        for _ in range(program.config.engine.reset_cycles + 1):
            if core.sim.get("ready") and not core.sim.get("busy"):
                break
            core.sim.run(1)
        assert core.sim.get("ready")
        core.sim.set("run", packed)
        if program.weight_stream is not None:
            core.sim.send("i_weights", program.weight_stream)
        core.sim.set("run_start", 1)
        core.sim.run(1)
        core.sim.set("run_start", 0)
        self.finish(program, x)

    def finish(self, program: Program, x: np.ndarray) -> None:
        """Wait for the end of a run, and compare."""
        core = self._promise.core(program.config)
        for _ in range(PATIENCE // 64):
            core.sim.run(64)
            if not core.sim.get("busy"):
                break
        assert not core.sim.get("busy")
        outputs = program.unpack_outputs(core.read("outputs", program.output_words), len(x))
        np.testing.assert_array_equal(outputs, reference.golden(program, x))
        assert core.causes() == reference.predict(program, x).causes
        self._compare(program, x, outputs)

    def _compare(self, program: Program, x: np.ndarray, outputs: np.ndarray) -> None:
        saturated = saturates(program, x)
        assert self._promise.core(program.config).sim.get("saturated") == saturated
        if not saturated:
            np.testing.assert_array_equal(outputs, plain_sums(program.network.layers, x))


@pytest.fixture
def bench(promise: SimpleNamespace) -> Bench:
    return Bench(promise)


@pytest.fixture(scope="session")
def make() -> SimpleNamespace:
    """Configs, layers and programs."""
    return SimpleNamespace(
        wide=WIDE, narrow=NARROW, layer=layer, on_one_pe=on_one_pe, compile=compile_layers, saturates=saturates
    )
