import os
import signal
import subprocess
import sys
import time

import pytest
from amaranth.hdl import unsigned

from celosia.sim.rtl import build
from celosia.sim.rtl.cache import cached, digest

BUILD_ONCE = """
def build(folder):
    with open(path, "a") as log:
        log.write("x")
    time.sleep(0.2)
    (folder / "product").write_text("built")
"""
BUILD_FOREVER = """
def build(folder):
    (folder / "half").write_text("half")
    open(path, "w").close()
    time.sleep(600)
"""


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CELOSIA_CACHE", str(tmp_path))
    return tmp_path


def write(folder):
    (folder / "product").write_text("built")


def start(build, path):
    """Another process that makes the entry with a function called `build`, which knows a `path`."""
    script = f"import signal, time\nfrom celosia.sim.rtl.cache import cached\npath = {str(path)!r}\n{build}"
    # Where tests run in the background, shells have SIGINT ignored, and so would the process.
    ready = "signal.signal(signal.SIGINT, signal.default_int_handler)"
    command = [sys.executable, "-c", f'{script}\n{ready}\ncached("kind", "key", build)']
    return subprocess.Popen(command, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})


def test_parts_of_a_key_do_not_run_into_each_other():
    assert digest("ab", "c") != digest("a", "bc")
    assert digest("ab", "c") == digest("ab", "c")


@pytest.mark.usefixtures("cache")
def test_a_sound_entry_is_not_built_again():
    entry = cached("kind", "key", write)
    assert cached("kind", "key", lambda _folder: pytest.fail("built again")) == entry
    assert (entry / "product").read_text() == "built"


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize("damage", ["changed", "shortened", "missing", "manifest"])
def test_a_damaged_entry_is_built_again(damage):
    product = cached("kind", "key", write) / "product"
    match damage:
        case "changed":
            product.write_text("bUilt")
        case "shortened":
            product.write_text("bui")
        case "missing":
            product.unlink()
        case "manifest":
            (product.parent / "manifest.json").write_text("{")
    assert (cached("kind", "key", write) / "product").read_text() == "built"


def test_two_processes_build_an_entry_once(cache):
    log = cache / "log"
    processes = [start(BUILD_ONCE, log) for _ in range(2)]
    assert [process.wait(60) for process in processes] == [0, 0]
    assert log.read_text() == "x"
    assert not list((cache / "kind").glob("*.part-*"))


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_build_leaves_nothing_that_counts(cache, how):
    flag = cache / "flag"
    process = start(BUILD_FOREVER, flag)
    deadline = time.monotonic() + 60
    while not flag.exists():
        assert time.monotonic() < deadline, "the build never began"
        time.sleep(0.05)
    process.send_signal(how)
    assert process.wait(60) != 0
    assert not (cache / "kind" / "key").exists()
    entry = cached("kind", "key", write)
    assert sorted(path.name for path in entry.iterdir()) == ["manifest.json", "product"]
    assert not list((cache / "kind").glob("*.part-*"))


def test_a_failed_build_leaves_nothing(cache):
    def fail(folder):
        (folder / "half").write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cached("kind", "key", fail)
    assert [path.name for path in (cache / "kind").iterdir()] == ["key.lock"]


def test_a_damaged_library_is_compiled_again(parts):
    stages = []
    model = build(parts.Fifo(unsigned(9), 4), name="fifo_9")
    model.library.write_bytes(model.library.read_bytes()[:1000])
    again = build(parts.Fifo(unsigned(9), 4), name="fifo_9", progress=stages.append)
    assert "verilate" in stages
    with again.start() as sim:
        sim.send("i", [300])
        sim.run(3)
        assert sim.receive("o").tolist() == [[300]]
    stages.clear()
    build(parts.Fifo(unsigned(9), 4), name="fifo_9", progress=stages.append)
    assert stages == ["write Verilog"]
