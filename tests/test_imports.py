"""Imports point one way: hw <- sim, hw <- host, hw <- boards <- explore; and a host program never loads Amaranth."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# Last part of a module's name.
PURE_HW = (
    *("config", "fields", "lanes", "protocol", "registry", "timing", "layer", "parameters", "tables", "tree"),
    *("bus_registers", "table"),
)
ALLOWED = {"hw": {"hw"}, "sim": {"hw", "sim"}, "host": {"hw", "host"}, "boards": {"hw", "boards"}}
ABOVE = {  # what puts the others together
    "sim/explore": {"host", "boards"},
}
LAZY = {  # what a command reaches only when it runs
    "host/cli": {"sim", "boards"},
}
FILES = sorted(path for part in ALLOWED for path in (ROOT / part).rglob("*.py"))


def imported(tree: ast.AST) -> set[str]:
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            names.add(node.module or "")
    return names


def at_import(tree: ast.Module) -> ast.Module:
    """Return the module without the bodies of its functions: what runs when it is imported."""
    stripped = ast.parse(ast.unparse(tree))
    for node in ast.walk(stripped):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [ast.Pass()]
    return stripped


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_direction(path: Path) -> None:
    place = path.relative_to(ROOT)
    tree = ast.parse(path.read_text(encoding="utf-8"))
    part = place.parts[0]
    above, lazy = (
        next((more for prefix, more in table.items() if str(place).startswith(prefix)), set())
        for table in (ABOVE, LAZY)
    )
    first = ALLOWED[part] | above
    for names, allowed in ((imported(at_import(tree)), first), (imported(tree), first | lazy)):
        targets = {name.split(".")[1] for name in names if name.startswith("celosia.")}
        assert targets <= allowed, f"{place} imports celosia.{(targets - allowed).pop()}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_pure_python(path: Path) -> None:
    place = path.relative_to(ROOT)
    pure = place.parts[0] == "host" or place.parts[:2] in (("sim", "golden"), ("sim", "cycles"))
    names = imported(ast.parse(path.read_text(encoding="utf-8")))
    if pure or (place.parts[0] == "hw" and place.stem in PURE_HW):
        assert not any(name.split(".")[0] == "amaranth" for name in names), f"{place} imports Amaranth"
    if pure:
        used = {name.split(".")[-1] for name in names if name.startswith("celosia.hw.")}
        assert used <= set(PURE_HW), f"{place} imports {used - set(PURE_HW)} of hw"


def test_annotations_are_evaluated_in_hw() -> None:
    """Postponed annotations make an Amaranth structure silently 0 bits wide."""
    for path in (ROOT / "hw").rglob("*.py"):
        assert "from __future__ import annotations" not in path.read_text(encoding="utf-8"), path


def test_host_starts_without_amaranth() -> None:
    code = (
        "import sys, celosia.host.cli, celosia.host.device, celosia.host.compile\n"
        "print([name for name in ('amaranth', 'onnx', 'celosia.sim') if name in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT / ".src")
    assert answer.stdout.strip() == "[]"
