"""Bitstreams, for real."""

import json
from dataclasses import replace

import pytest

from celosia.boards.clocks import plan_clock
from celosia.boards.table import find_board
from celosia.boards.tools import SynthesisError
from celosia.host.cli.app import execute

SYNC = bytes.fromhex("7eaa997e")  # with which iceCube's bitstreams begin, after a comment


def test_no_seeds():
    bitstream = pytest.importorskip("celosia.boards.bitstream")
    board = find_board("ice40-hx8k")
    with pytest.raises(ValueError, match=r"^seeds is empty; give at least one"):
        bitstream.build_bitstream(
            board, board.designs["sparse"].config, plan_clock("ice40", 12e6, 12e6), baud=115_200, seeds=()
        )


def test_a_platform_that_is_not_there_is_one_sentence():
    bitstream = pytest.importorskip("celosia.boards.bitstream")
    board = replace(find_board("ice40-hx8k"), platform="amaranth_nothing.quux:Platform")
    with pytest.raises(SynthesisError, match=r"is not installed; `pip install 'celosia\["):
        bitstream.build_bitstream(board, board.designs["sparse"].config, plan_clock("ice40", 12e6, 12e6), baud=115_200)


@pytest.mark.slow
@pytest.mark.synth
def test_one_command(tmp_path, capsys, monkeypatch):
    pytest.importorskip("amaranth_boards")
    monkeypatch.setenv("CELOSIA_CACHE", str(tmp_path / "cache"))
    target = tmp_path / "out"
    for _ in range(2):  # then from the cache
        assert execute(["build", "ice40-hx8k", "--force", "-o", str(target), "--json"]) == 0
        report = json.loads(capsys.readouterr().out)
        assert SYNC in (target / "ice40-hx8k.bin").read_bytes()[:256]
        assert report["fmax_mhz"] > report["constraint_mhz"] == 24
        assert 0 < report["usage"]["brams"]["used"] <= report["usage"]["brams"]["available"] == 32
        assert report["usage"]["luts"]["available"] == 7680
        assert report["networks"]["digits-lenet"]["inputs_per_second"] > 1000
        assert "Max frequency" in (target / "place_and_route.log").read_text()
    assert len(list((tmp_path / "cache" / "synth").iterdir())) == 1
