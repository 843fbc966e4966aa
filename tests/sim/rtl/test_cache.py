import multiprocessing
import os
import signal
import time

import pytest
from amaranth.hdl import unsigned

from celosia.sim.rtl import build
from celosia.sim.rtl.cache import cached, digest

SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CELOSIA_CACHE", str(tmp_path))
    return tmp_path


def write(folder, text="built", log=None):
    if log is not None:
        with open(log, "a") as file:
            file.write("x")
    time.sleep(0.2)
    (folder / "product").write_text(text)


def build_once(log):
    cached("kind", "key", lambda folder: write(folder, log=log))


def build_forever(flag):
    def never_done(folder):
        (folder / "half").write_text("half")
        flag.touch()
        time.sleep(600)

    cached("kind", "key", never_done)


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
    processes = [SPAWN.Process(target=build_once, args=(log,)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert log.read_text() == "x"
    assert not list((cache / "kind").glob("*.part-*"))


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_build_leaves_nothing_that_counts(cache, how):
    flag = cache / "flag"
    process = SPAWN.Process(target=build_forever, args=(flag,))
    process.start()
    for _ in range(600):
        if flag.exists():
            break
        time.sleep(0.05)
    os.kill(process.pid, how)
    process.join(60)
    assert process.exitcode != 0
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
