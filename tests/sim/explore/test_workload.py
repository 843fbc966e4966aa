"""Workloads: named by what is in them, however much of it has been looked at."""

import pickle

from celosia.host.models.ir import Network
from celosia.sim.explore.topology import ConvLayer
from celosia.sim.explore.workload import Workload


def network(filters: int = 4) -> Network:
    return ConvLayer(name="conv", image=(8, 8), kernel=(3, 3), channels=3, filters=filters).network()


def workload(model: Network) -> Workload:
    return Workload(name="layers", models=[model])


def test_digest_is_of_the_contents_alone() -> None:
    fresh, used = network(), network()
    assert used.layers[0].weight_width == 2  # type: ignore[union-attr]  # and remembers its weights' range
    digest = workload(fresh).digest
    assert workload(used).digest == digest
    assert workload(network(filters=5)).digest != digest


def test_workers_get_an_equal_workload() -> None:
    given = workload(network())
    received = pickle.loads(given.pickled)
    assert isinstance(received, Workload)
    assert (received.name, received.batch, received.digest) == (given.name, given.batch, given.digest)
    assert (received.models[0].layers[0].weights == given.models[0].layers[0].weights).all()  # type: ignore[union-attr]
