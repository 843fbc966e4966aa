"""Host and device as processes of their own, each killed at random moments."""

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from celosia.host.data import load_digits

MODEL = str(files("celosia.host.data") / "digits_mlp.npz")
CELOSIA = (sys.executable, "-m", "celosia.host.cli")
ARRAY = ("--rows", "4", "--cols", "4", "--set", "weight_depth=4096")

pytestmark = pytest.mark.slow


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    path = tmp_path / "images.npy"
    np.save(path, load_digits("test")[0].astype(np.float32))
    return path


@contextmanager
def server(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    command = [*CELOSIA, "simulate", *ARRAY, "--json", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    try:
        yield process, json.loads(process.stdout.readline())["address"]
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def host(address: str, inputs: Path) -> list[str]:
    return [*CELOSIA, "run", MODEL, "--input", str(inputs), "--device", address, "--json"]


def assert_runs(address: str, inputs: Path) -> None:
    done = subprocess.run(host(address, inputs), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["bit_exact"]
    assert report["cycle_exact"]


def ways(tmp_path: Path) -> dict[str, tuple[str, ...]]:
    return {"tcp": ("--tcp", "0"), "pty": ("--pty", "--pty-link", str(tmp_path / "board"), "--baud", "12e6")}


@pytest.mark.parametrize("way", ["tcp", "pty"])
def test_hosts_are_killed(way, tmp_path, inputs):
    seed = int.from_bytes(os.urandom(4), "big")
    rng = random.Random(seed)
    with server(*ways(tmp_path)[way]) as (_, address):
        begin = time.monotonic()
        assert_runs(address, inputs)
        duration = time.monotonic() - begin
        for _ in range(4):
            victim = subprocess.Popen(host(address, inputs), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(rng.uniform(0.1, 1.0) * duration)
            victim.kill()
            victim.wait()
            assert_runs(address, inputs), f"seed {seed}"


@pytest.mark.parametrize("way", ["tcp", "pty"])
def test_devices_are_killed(way, tmp_path, inputs):
    """The host ends with one sentence, and whatever comes next works."""
    rng = random.Random(int.from_bytes(os.urandom(4), "big"))
    arguments = ways(tmp_path)[way]
    with server(*arguments) as (_, address):
        begin = time.monotonic()
        assert_runs(address, inputs)
        duration = time.monotonic() - begin
    for _ in range(4):
        with server(*arguments) as (process, address):
            victim = subprocess.Popen(host(address, inputs), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            time.sleep(rng.uniform(0.1, 0.9) * duration)
            process.kill()
            out, said = victim.communicate(timeout=60)
        if victim.returncode == 0:  # it was ready before
            assert json.loads(out)["bit_exact"]
        else:
            assert victim.returncode == 2
            assert said.startswith("celosia: ")
            assert said.count("\n") == 1
            assert address.removeprefix("tcp:") in said
    with server(*arguments) as (_, address):
        assert_runs(address, inputs)
