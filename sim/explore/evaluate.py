"""One look at a candidate, at one level: what workers of a sweep do. Everything here goes from process to process."""

import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np

from celosia.host.errors import CelosiaError
from celosia.hw.config import AcceleratorConfig
from celosia.sim.explore.count import Count, count_cycles, largest, memory_bits
from celosia.sim.explore.workload import Workload


class ToolError(Exception):
    """A tool did not end as it should."""


Result = dict[str, Any]
"""``config`` and ``figures``, or ``refused``, with ``again`` if another try may end otherwise; JSON."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """Configs to look at, all at the same level.

    Parameters
    ----------
    level : str
        One of `celosia.sim.explore.candidate.LEVELS`, or `CHECK`.
    configs : tuple of AcceleratorConfig
        At the first level with memories that may grow, later as they came from there.
    workload : bytes
        A `Workload`, pickled.
    keep : tuple of str
        Parameters that stay as they are.
    board : str
        Name of the board; empty for none.
    clocks : tuple of float
        MHz, for each config, where place and route needs it; else empty.
    """

    level: str
    configs: tuple[AcceleratorConfig, ...]
    workload: bytes
    keep: tuple[str, ...] = ()
    board: str = ""
    clocks: tuple[float, ...] = ()


def evaluate(task: Task) -> list[Result]:
    """Look at each config of a task: one result for each, in order.

    What is wrong with a config is a result, too: ``refused``, in one sentence.
    """
    results = []
    for index, config in enumerate(task.configs):
        try:
            results.append(_LOOKS[task.level](task, index))
        except CelosiaError as error:
            results.append({"refused": str(error)})
        except ToolError as error:
            results.append({"refused": str(error), "again": True})
        except MemoryError:
            results.append({"refused": f"there is not enough memory to look at {config.hash}.", "again": True})
    return results


@lru_cache(maxsize=4)
def _workload(pickled: bytes) -> Workload:
    # Layers that stay the same objects know their sums already.
    workload = pickle.loads(pickled)
    assert isinstance(workload, Workload)
    return workload


def _count(task: Task, index: int) -> Result:
    """Exact cycles; with a board, estimates of area and clock."""
    workload, config = _workload(task.workload), task.configs[index]
    pieces = workload.pieces(config)
    counts = [count_cycles(*piece, config, keep=task.keep, batch=workload.batch) for piece in pieces]
    fitted = largest([count.config for count in counts])
    if len(pieces) > 1:  # descriptors are as long as addresses, and are fetched as long
        counts = [count_cycles(*piece, fitted, keep=task.keep, batch=workload.batch) for piece in pieces]
    if task.board and any(count.streamed_words for count in counts):
        # Cycles are those of a stream that never waits.
        raise CelosiaError(
            f"its weights stream, for which a serial port is too slow; weight_depth={fitted.weight_depth} is too small."
        )
    figures = _figures(fitted, counts)
    accuracy = _accuracy(workload, fitted)
    if accuracy is not None:
        figures["accuracy"] = accuracy
    if task.board:
        figures |= _estimate(fitted, task.board)
    return {"config": fitted.to_json(), "figures": figures}


def _figures(config: AcceleratorConfig, counts: Sequence[Count]) -> dict[str, float]:
    cycles, macs = sum(count.cycles for count in counts), sum(count.macs for count in counts)
    inputs = counts[0].inputs
    energies = [count.energy_uj for count in counts]
    figures: dict[str, float] = {
        "cycles": cycles / inputs,
        "utilization": macs / (config.engine.pe_count * cycles),
        "pes": config.engine.pe_count,
        "memory_bits": memory_bits(config),
    }
    known = [energy for energy in energies if energy is not None]
    if len(known) == len(energies):
        figures["energy_uj"] = sum(known) / inputs
    causes: dict[str, int] = {}
    for count in counts:
        for cause, number in count.causes.items():
            causes[cause] = causes.get(cause, 0) + number
    return figures | {f"cycles_{cause}": number / inputs for cause, number in causes.items()}


def _accuracy(workload: Workload, config: AcceleratorConfig) -> float | None:
    """Return the share of inputs that the golden model puts into the right class; None without labels."""
    if workload.labels is None:
        return None
    from celosia.host.session import run
    from celosia.sim import reference

    known = workload.accuracies
    ((network, inputs),) = workload.pieces(config)
    if id(network) not in known:
        results = network.dequantize_output(run(network, inputs, None, reference, config=config).results)
        classes = results.reshape(len(inputs), -1).argmax(axis=1)
        known[id(network)] = float(np.mean(classes == workload.labels))
    return known[id(network)]


def _estimate(config: AcceleratorConfig, board: str) -> dict[str, float]:
    from celosia.boards.estimate import estimate
    from celosia.boards.table import find_board

    return estimate(config, find_board(board)).figures


def _synthesis(task: Task, index: int) -> Result:
    """Cells of the netlist, as place and route counts them before it begins."""
    from celosia.boards.bitstream import count_design

    usage = _with_tools(
        lambda board, plan: count_design(board, task.configs[index], plan, baud=board.baud), task, index
    )
    return {"figures": {kind: count.used for kind, count in usage.items()}}


def _route(task: Task, index: int) -> Result:
    """Cells and clock after place and route with one seed."""
    from celosia.boards.bitstream import build_bitstream

    (attempt,) = _with_tools(
        lambda board, plan: build_bitstream(board, task.configs[index], plan, baud=board.baud, seeds=(1,)), task, index
    )
    if not attempt.fits:
        return {"refused": f"does not fit: {attempt.failure}"}
    cells = {kind: count.used for kind, count in attempt.usage.items()}
    return {"figures": {**cells, "fmax_mhz": attempt.fmax_mhz, "constraint_mhz": attempt.constraint_mhz}}


def _with_tools(run: Callable[[Any, Any], Any], task: Task, index: int) -> Any:
    from celosia.boards.clocks import MHZ, plan_clock
    from celosia.boards.table import find_board
    from celosia.boards.tools import SynthesisError

    board = find_board(task.board)
    plan = plan_clock(board.device.family, board.clock_hz, task.clocks[index] * MHZ)
    try:
        return run(board, plan)
    except SynthesisError as error:
        raise ToolError(str(error)) from None


def _simulate(task: Task, index: int) -> Result:
    """Every output and every counter of the RTL, held against the models."""
    from celosia.host.session import CoreMachine, run
    from celosia.sim import reference
    from celosia.sim.core import CoreSimulator

    workload, config = _workload(task.workload), task.configs[index]
    cycles = 0.0
    core = CoreSimulator(config)
    try:
        for network, inputs in workload.pieces(config):
            outcome = run(network, inputs[: workload.batch], CoreMachine(core), reference)
            if not outcome.exact:
                return {"refused": f"RTL and models differ: {outcome.mismatch}"}
            cycles += outcome.cycles_per_input
    finally:
        core.close()
    return {"figures": {"rtl_cycles": cycles}}


_LOOKS: Final[Mapping[str, Callable[[Task, int], Result]]] = {
    "cycles": _count,
    "synthesis": _synthesis,
    "route": _route,
    "rtl": _simulate,
}
