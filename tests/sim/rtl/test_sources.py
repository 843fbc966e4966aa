import shutil
from pathlib import Path

import pytest

from celosia.hw.config import AcceleratorConfig
from celosia.hw.core import Core
from celosia.hw.systolic.config import SystolicConfig
from celosia.hw.verilog import write_verilog
from celosia.sim.rtl import sources
from celosia.sim.rtl.sources import verilog_of

CONFIG = AcceleratorConfig(engine=SystolicConfig(rows=1, cols=1))


@pytest.fixture
def written(tmp_path, monkeypatch):
    """Names of what was written, with a cache of its own."""
    monkeypatch.setenv("CELOSIA_CACHE", str(tmp_path / "cache"))
    names: list[str] = []

    def write(component, name):
        names.append(name)
        return write_verilog(component, name)

    monkeypatch.setattr(sources, "write_verilog", write)
    sources._sources.cache_clear()
    yield names
    sources._sources.cache_clear()


def verilog(name="core", identity=CONFIG.hash):
    component = Core(CONFIG)
    component._MustUse__silence = True  # one that comes from the cache is never elaborated
    return verilog_of(component, name, identity=identity)


def test_written_once(written):
    text = verilog()
    assert "module core (" in text
    assert verilog() == text == write_verilog(Core(CONFIG), "core")
    assert written == ["core"]


def test_another_name_or_identity_is_written(written):
    for options in ({"name": "other"}, {"identity": "other"}, {"identity": ""}, {"identity": ""}):
        verilog()
        verilog(**options)
    assert written == ["core", "other", "core", "core", "core"]


def test_changed_sources_are_written_anew(written, tmp_path, monkeypatch):
    """A cached design must never hide a change of the hardware."""
    copy = tmp_path / "hw"
    shutil.copytree(Path(next(iter(sources.celosia.hw.__path__))), copy)
    monkeypatch.setattr(sources.celosia.hw, "__path__", [str(copy)])
    verilog()
    sources._sources.cache_clear()
    verilog()
    assert len(written) == 1
    (copy / "systolic" / "timing.py").write_text("# changed\n")
    sources._sources.cache_clear()
    verilog()
    assert len(written) == 2


def test_progress_only_when_something_is_written(written):
    told: list[str] = []
    for _ in range(2):
        component = Core(CONFIG)
        component._MustUse__silence = True
        verilog_of(component, "core", identity=CONFIG.hash, progress=told.append)
    assert told == ["write Verilog"]
    assert written == ["core"]
