import re
import subprocess

import pytest

from celosia.host.deliverable.header import c_header
from celosia.host.deliverable.layouts import run_places, status_places, used_words
from celosia.hw.bus_registers import BUS_REGISTERS
from celosia.hw.config import AcceleratorConfig
from celosia.hw.protocol import Opcode, RunParameters, StatusCode
from celosia.hw.registry import ENGINES
from celosia.hw.systolic.config import SystolicConfig
from celosia.sim.rtl.compiler import find_compiler

CONFIG = AcceleratorConfig(engine=SystolicConfig(rows=2, cols=2))
PARAMETERS = {"systolic": {"rows": 4, "cols": 4}, "sparse": {"pes": 3}, "binary": {"pes": 4, "simd": 8}}


def defined(text: str) -> dict[str, int]:
    """Numbers that a header defines, without their prefix."""
    found = re.findall(r"^(?:#define|  )\s*CELOSIA_(\w+) =? ?(0x\w+|\d+)u?\b", text, re.MULTILINE)
    return {name: int(value.removesuffix("u"), 0) for name, value in found}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("language", ["c -std=c99", "c++ -std=c++11"])
def test_it_compiles(engine, language, tmp_path):
    compiler = find_compiler()
    if compiler is None:
        pytest.skip("no C compiler")
    config = AcceleratorConfig(engine=ENGINES[engine].config(**PARAMETERS[engine]))
    (tmp_path / "celosia.h").write_text(c_header(config, "it", has_registers=True))
    uses = "int x = (int)CELOSIA_OPCODE_RUN; const char *const n[CELOSIA_CAUSES] = {CELOSIA_CAUSE_NAMES};\n"
    (tmp_path / "main").write_text(f'#include "celosia.h"\n#include "celosia.h"\n{uses}')
    command = [compiler.program, "-x", *language.split(), "-Wall", "-Wextra", "-pedantic", "-Werror", "-fsyntax-only"]
    answer = subprocess.run([*command, "main"], cwd=tmp_path, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr


def test_numbers_are_the_protocols():
    text = c_header(CONFIG, "it", has_registers=True)
    numbers = defined(text)
    for code in StatusCode:
        assert numbers[f"STATUS_{code.name}"] == code
        assert f"/* {code.sentence} */" in text
    assert {name: numbers[f"OPCODE_{name}"] for name in Opcode.__members__} == dict(Opcode.__members__)
    for memory in CONFIG.memories:
        name = memory.name.upper()
        assert (numbers[f"{name}_ID"], numbers[f"{name}_WIDTH"]) == (memory.id, memory.width)
        assert (numbers[f"{name}_WORDS"], numbers[f"{name}_DEPTH"]) == (memory.link_words, memory.depth)
    assert f"{numbers['CONFIG_HASH_HIGH']:08x}{numbers['CONFIG_HASH_LOW']:08x}" == CONFIG.hash
    for register in BUS_REGISTERS:
        assert numbers[f"REG_{register.name}"] == register.offset
    assert "REG_" not in c_header(CONFIG, "it")


def test_places_of_run_are_where_it_is_encoded():
    values = {"program": 3, "layers": 5, "iterations": 7, "input_words": 11, "output_words": 13, "ring_base": 17}
    encoded = int.from_bytes(RunParameters(**values, config_hash="0123456789abcdef").encode(), "little")
    found = {place.name: encoded >> (32 * place.word + place.low) & (1 << place.width) - 1 for place in run_places()}
    assert found == {**values, "config_hash": 0x0123456789ABCDEF}
    assert used_words() == [True] * 5 + [False] + [True] * 2


def test_places_of_a_report():
    places = {place.name: (place.word, place.low, place.width) for place in status_places()}
    assert places == {
        **{"state": (0, 0, 8), "error": (0, 8, 8), "saturated": (0, 24, 1), "fresh": (0, 25, 1), "failure": (0, 28, 4)},
        **{"total_cycles": (1, 0, 64), "cause_cycles": (3, 0, 64)},
    }
