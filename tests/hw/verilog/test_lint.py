"""What celosia generate writes is clean under Verilator's lint, but for the rules that are explained beside it."""

import subprocess

import pytest

from celosia.hw.binary.config import BinaryConfig
from celosia.hw.config import AcceleratorConfig
from celosia.hw.sparse.config import SparseConfig
from celosia.hw.systolic.config import SystolicConfig
from celosia.hw.verilog import LINT_WAIVERS
from celosia.sim.parts import verilog_of_part
from celosia.sim.rtl.compiler import verilator_root

CONFIGS = {
    "systolic": AcceleratorConfig(engine=SystolicConfig(rows=4, cols=4)),
    "sparse": AcceleratorConfig(engine=SparseConfig(pes=4)),
    "sparse, groups and decoders": AcceleratorConfig(engine=SparseConfig(pes=8, group=4, decoders=2)),
    "sparse, no codebook": AcceleratorConfig(engine=SparseConfig(pes=3, codebook_width=None, activation_width=8)),
    "binary": AcceleratorConfig(engine=BinaryConfig(pes=6, simd=8)),
    "binary, all of one bit": AcceleratorConfig(
        engine=BinaryConfig(pes=4, simd=32, activation_width=1, output_width=1, post_lanes=4)
    ),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_lint_is_clean(name, tmp_path):
    (tmp_path / "accelerator.v").write_text(verilog_of_part("accelerator", CONFIGS[name]))
    (tmp_path / "lint.vlt").write_text(LINT_WAIVERS)
    root = verilator_root()
    command = [root / "bin" / "verilator_bin", "--lint-only", "-Wall", "--no-timing", "lint.vlt", "accelerator.v"]
    answer = subprocess.run(command, cwd=tmp_path, env={"VERILATOR_ROOT": str(root)}, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
