"""Folders as a stranger would check them: without Python."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from celosia.host.cli.app import execute
from celosia.host.cli.deliver import Part, write_deliverable
from celosia.host.deliverable.links import LINK_BENCHES
from celosia.hw.link.table import LINKS
from celosia.hw.protocol import checksum
from celosia.hw.registry import ENGINES

UART = {"clock_hz": 8e6, "baud": 2e6}


@pytest.fixture(scope="module")
def folders(tiny, vectors, tmp_path_factory):
    """Make the tiny accelerator's folder, behind a link."""

    def make(link: str = "") -> Path:
        folder = tmp_path_factory.mktemp("folder") / "it"
        part = Part(name="accelerator", config=tiny[0].config, link=link, parameters=UART if link == "uart" else {})
        write_deliverable(part, vectors, folder, force=False)
        return folder

    return make


def change_weight(folder: Path) -> None:
    """Add one to the first weight that is written, with a right checksum."""
    path = folder / "vectors" / "requests.hex"
    lines = path.read_text().splitlines()
    title = next(index for index, line in enumerate(lines) if re.match(r"// \d+: WRITE \d+ words to the weights", line))
    end = next(index for index in range(title + 1, len(lines)) if lines[index].startswith("1_"))
    words = [int(line[2:], 16) for line in lines[title + 1 : end]]
    words[3] ^= 0x40
    packet = np.array(words, dtype="<u4").tobytes()
    words.append(int.from_bytes(checksum(packet), "little"))
    lines[title + 1 : end + 1] = [f"{int(word is words[-1])}_{word:08x}" for word in words]
    assert len(words) == end - title
    path.write_text("\n".join(lines) + "\n")


def change_line(folder: Path, title: str, word: int) -> None:
    """Flip the lowest bit of a word of an answer that is expected."""
    path = folder / "vectors" / "answers.hex"
    lines = path.read_text().splitlines()
    index = next(index for index, line in enumerate(lines) if title in line) + 1 + word
    last, value, known = lines[index].split("_")
    lines[index] = f"{last}_{int(value, 16) ^ 1:08x}_{known}"
    path.write_text("\n".join(lines) + "\n")


def failed(answer) -> bool:
    lines = answer.stdout.splitlines()
    return answer.returncode != 0 and any(x.startswith("FAIL") for x in lines) and "PASS" not in answer.stdout


def test_icarus(folders, simulate, vectors):
    folder = folders()
    answer = simulate("icarus", folder)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert answer.stderr == ""  # no warnings
    assert f"PASS: {vectors.answer_words} answer words in {len(vectors.exchanges)} packets" in answer.stdout
    kept = shutil.copytree(folder / "vectors", folder / "kept")
    change_line(folder, "READ results of input 1", 1)
    answer = simulate("icarus", folder)
    assert failed(answer)
    assert "differences" in answer.stdout
    shutil.copytree(kept, folder / "vectors", dirs_exist_ok=True)
    change_line(folder, "STATUS when the run on input 0", 2)  # a counter, one cycle off
    assert failed(simulate("icarus", folder))
    shutil.copytree(kept, folder / "vectors", dirs_exist_ok=True)
    change_weight(folder)
    answer = simulate("icarus", folder)
    assert failed(answer)
    assert re.search(r"answer 1\d, word \d+ .*: expected \w+, found \w+", answer.stdout)
    shutil.copytree(kept, folder / "vectors", dirs_exist_ok=True)
    assert simulate("icarus", folder).returncode == 0


def test_a_missing_word_is_told(folders, simulate):
    folder = folders()
    for name in ("requests.hex", "answers.hex"):
        path = folder / "vectors" / name
        whole = path.read_text()
        path.write_text("\n".join(whole.splitlines()[:-1]) + "\n")
        answer = simulate("icarus", folder)
        assert failed(answer)
        assert "is missing, or shorter than it was" in answer.stdout
        path.write_text(whole)


def test_a_dead_device_is_told(folders, simulate):
    folder = folders()
    path = folder / "accelerator.v"
    text = path.read_text()
    dead = re.sub(r"(?m)^endmodule", "  assign i__ready = 1'b0;\nendmodule", text, count=1).replace(
        ".i__ready(i__ready)", ".i__ready()", 1
    )
    path.write_text(dead)
    answer = simulate("icarus", folder)
    assert failed(answer)
    assert "no word has moved" in answer.stdout


@pytest.mark.slow
def test_verilator(folders, simulate, vectors):
    folder = folders()
    assert simulate("lint", folder).returncode == 0
    answer = simulate("verilator", folder)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert f"PASS: {vectors.answer_words} answer words" in answer.stdout
    change_weight(folder)
    assert failed(simulate("verilator", folder))


def test_all_links_have_a_bench():
    assert set(LINK_BENCHES) == {"", *LINKS}


QUICK = ("axi-stream", "axi-lite")


@pytest.mark.parametrize(
    "link", [link if link in QUICK else pytest.param(link, marks=pytest.mark.slow) for link in LINKS]
)
def test_links(folders, simulate, link):
    folder = folders(link)
    answer = simulate("icarus", folder)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert answer.stderr == ""
    change_weight(folder)
    assert failed(simulate("icarus", folder))


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
def test_engines(engine, tmp_path, simulate):
    size = ["--rows", "4", "--cols", "4"] if engine == "systolic" else ["--set", "pes=4"]
    folder = tmp_path / "it"
    assert execute(["generate", engine, *size, "--inputs", "2", "--output", str(folder)]) == 0
    for target in ("icarus", "verilator", "lint"):
        answer = simulate(target, folder)
        assert answer.returncode == 0, answer.stdout + answer.stderr


def test_fusesoc_reads_the_core_file(folders, tmp_path):
    program = shutil.which("fusesoc", path=Path(sys.executable).parent)
    if program is None:
        pytest.skip("fusesoc is not installed")
    command = [program, "--cores-root", folders(), "core", "show", "celosia:systolic:accelerator"]
    answer = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    targets = re.findall(r"^(\w+) +:", answer.stdout.partition("Targets:")[2], re.MULTILINE)
    assert targets == ["default", "lint", "sim", "sim_verilator"]
