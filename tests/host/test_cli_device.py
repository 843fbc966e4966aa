"""Commands on a device that is reached over TCP: the RTL, behind the same words as a board."""

import json
import threading
from collections.abc import Iterator

import numpy as np
import pytest

from celosia.boards.designs import MINIMAL
from celosia.host.cli.app import execute
from celosia.host.data import load_digits, tiny_network
from celosia.host.models.npz import write_npz
from celosia.host.serving import TcpEndpoint, serve
from celosia.sim.wire import byte_wire

CONFIG = MINIMAL["binary"].config
IMAGES = 5


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Address of a device that is served for all tests here."""
    endpoint, stopped, wire = TcpEndpoint("localhost", 0), threading.Event(), byte_wire(CONFIG)
    thread = threading.Thread(target=serve, args=(wire, endpoint), kwargs={"until": stopped.is_set})
    thread.start()
    try:
        yield endpoint.address
    finally:
        stopped.set()
        thread.join()
        endpoint.close()
        wire.close()


@pytest.fixture
def model(tmp_path):
    """Arguments of `celosia run`: a network and inputs."""
    write_npz(tmp_path / "tiny.npz", tiny_network())
    np.save(tmp_path / "images.npy", load_digits("test")[0][:IMAGES].astype(np.float32))
    return [str(tmp_path / "tiny.npz"), "--input", str(tmp_path / "images.npy")]


def test_run(address, model, tmp_path, capsys):
    outputs = tmp_path / "outputs.npy"
    assert execute(["run", *model, "--device", address, "--output", str(outputs), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["bit_exact"], report["cycle_exact"]) == (True, True)
    assert report["config_hash"] == CONFIG.hash
    written = np.load(outputs)  # in integers, as the network is given in integers
    assert tiny_network().dequantize_output(written).argmax(axis=1).tolist() == report["top1"]


def test_run_refuses_options_of_a_simulator(address, model, capsys):
    assert execute(["run", *model, "--device", address, "--set", "pes=4"]) == 2
    assert "--set is about a simulator, and --device has a config of its own" in capsys.readouterr().err


def test_demo(address, capsys):
    assert execute(["demo", "--device", address, "--json"]) == 0
    captured = capsys.readouterr()
    report = json.loads(captured.out)
    assert (report["name"], report["images"], report["config_hash"]) == ("digits-tiny", 445, CONFIG.hash)
    assert (report["bit_exact"], report["cycle_exact"]) == (True, True)
    assert report["accuracy_device"] == report["accuracy_golden"] > 0.9
    assert report["retransmissions"] == 0
    assert "binary 2×4: the usual network is left out, because" in captured.err


def test_demo_refuses_options_of_a_simulator(address, capsys):
    assert execute(["demo", "--device", address, "--rows", "4"]) == 2
    assert "--rows is about a simulator" in capsys.readouterr().err


def test_demo_without_a_network_that_fits(address, capsys, monkeypatch):
    monkeypatch.setattr("celosia.host.cli.demo.SMALL_NETWORKS", {})
    assert execute(["demo", "--device", address]) == 2
    error = capsys.readouterr().err
    assert f"{address}: none of the demo's networks fits." in error
    assert "activation_width=1 is too narrow" in error
