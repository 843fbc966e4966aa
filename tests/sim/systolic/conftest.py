"""Steps of the systolic engine, beat by beat."""

import pytest

from celosia.sim.golden.systolic_steps import Machine


@pytest.fixture(scope="session")
def interpreter() -> type[Machine]:
    return Machine
