"""celosia generate: Verilog, and all that it takes to check and use it without Python."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from celosia.host.cli.deliver import LINT, Part, write_deliverable
from celosia.host.cli.demo import NETWORKS
from celosia.host.cli.folder import MANIFEST, check_target
from celosia.host.cli.machines import describe
from celosia.host.cli.options import Cols, ConfigFile, Json, Rows, Settings, given_names, read_config
from celosia.host.cli.output import emit, note, show, working
from celosia.host.cli.run import read_inputs
from celosia.host.compile import compile_network
from celosia.host.data import load_digits
from celosia.host.deliverable.links import LINK_BENCHES
from celosia.host.deliverable.vectors import Vectors, golden_vectors
from celosia.host.errors import CelosiaError
from celosia.host.fit import engine_for, fit_memories
from celosia.host.models import read_model
from celosia.host.models.float_ir import FloatNetwork
from celosia.host.models.integers import integer_range
from celosia.host.models.ir import Network
from celosia.host.prepare import prepare
from celosia.hw.config import AcceleratorConfig
from celosia.hw.link.table import LINKS

SEED = 1  # of random inputs


class PartName(StrEnum):
    """What to generate."""

    ACCELERATOR = "accelerator"
    CORE = "core"
    ENGINE = "engine"


def generate(
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder to make.")],
    engine: Annotated[
        str | None, typer.Argument(help="Name of an engine, see celosia list; without it the model's.")
    ] = None,
    part: Annotated[
        PartName, typer.Option("--part", help="The whole accelerator, its core without the link, or the engine alone.")
    ] = PartName.ACCELERATOR,
    link: Annotated[
        str | None,
        typer.Option("--link", metavar="NAME", help=f"Put the accelerator behind one of: {', '.join(LINKS)}."),
    ] = None,
    clock: Annotated[float | None, typer.Option("--clock", metavar="MHZ", help="Clock of --link uart.")] = None,
    baud: Annotated[int | None, typer.Option("--baud", metavar="BAUD", help="Bits per second of --link uart.")] = None,
    model: Annotated[
        Path | None,
        typer.Option("--model", "-m", metavar="FILE", help="Network that the testbench runs; else handwritten digits."),
    ] = None,
    inputs: Annotated[
        Path | None,
        typer.Option("--input", "-i", metavar="X.npy", help="The network's inputs; without it random integers."),
    ] = None,
    count: Annotated[int, typer.Option("--inputs", metavar="N", help="How many inputs the testbench runs.")] = 4,
    vectors: Annotated[bool, typer.Option("--testbench/--no-testbench", help="With a testbench and vectors.")] = True,
    config: ConfigFile = None,
    rows: Rows = None,
    cols: Cols = None,
    settings: Settings = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a folder that celosia generated.")] = False,
    as_json: Json = False,
) -> None:
    """Write a folder for hardware engineers: readable Verilog, and all that it takes to check it without Python.

    An accelerator comes with a self-checking testbench in plain Verilog, golden vectors of a network, a Makefile, a
    FuseSoC core file, a C header and a README. Memories are made as large as a given network needs.
    """
    wanted = vectors and part is PartName.ACCELERATOR
    _check_options(part, link, clock, baud, model, inputs, count, wanted)
    read = None if model is None else read_model(model)
    if engine is None and config is None and read is None:
        raise CelosiaError("generate needs the name of an engine, or --model or --config; celosia list shows engines.")
    name = engine or (engine_for(read) if read is not None and config is None else None)
    chosen = read_config(name, file=config, rows=rows, cols=cols, settings=settings)
    check_target(output, force=force)  # before the work is done
    made = None
    if wanted:
        keep = given_names(settings) if config is None else None
        made, chosen = _vectors(chosen, read, model, inputs, count, keep)
    if made is not None and (link or "") not in LINK_BENCHES:
        note(f"there is no testbench for --link {link}; the folder is without one.")
        made = None
    parameters = {} if clock is None or baud is None else {"clock_hz": clock * 1e6, "baud": baud}
    what = Part(name=part.value, config=chosen, link=link or "", parameters=parameters)
    try:
        with working(f"generating {describe(chosen)}") as report:
            files = write_deliverable(what, made, output, force=force, progress=report)
    except CelosiaError:
        raise
    except ValueError as error:
        raise CelosiaError(str(error)) from None
    _report(what, made, output, files, as_json)


def _check_options(
    part: PartName,
    link: str | None,
    clock: float | None,
    baud: int | None,
    model: Path | None,
    inputs: Path | None,
    count: int,
    wanted: bool,
) -> None:
    """Refuse options that do not belong together."""
    given = {"--link": link, "--model": model, "--input": inputs}
    for name, value in given.items():
        if value is not None and part is not PartName.ACCELERATOR:
            raise CelosiaError(f"{name} is for the whole accelerator, not for --part {part.value}; leave it out.")
    for name, value in (("--model", model), ("--input", inputs)):
        if value is not None and not wanted:
            raise CelosiaError(f"{name} is for the testbench; leave it or --no-testbench out.")
    if inputs is not None and model is None:
        raise CelosiaError("--input is for a --model; give one.")
    if count < 1:
        raise CelosiaError(f"--inputs {count} must be at least 1.")
    if link is not None and link not in LINKS:
        raise CelosiaError(f"--link {link}: there is no such link; there are: {', '.join(LINKS)}.")
    if link == "uart" and (clock is None or baud is None):
        raise CelosiaError("--link uart needs --clock MHZ and --baud BAUD.")
    if link != "uart" and (clock is not None or baud is not None):
        raise CelosiaError("--clock and --baud are for --link uart; leave them out.")


def _vectors(
    config: AcceleratorConfig,
    read: Network | FloatNetwork | None,
    model: Path | None,
    inputs: Path | None,
    count: int,
    keep: list[str] | None,
) -> tuple[Vectors | None, AcceleratorConfig]:
    """Return vectors, and the config with memories that hold the network unless `keep` is None.

    Without a model they are the engine's demonstration network's, and none if that does not fit the config.
    """
    from celosia.sim import reference

    try:
        network, integers = _network(config, read, model, inputs, count)
        if len(integers) < count:
            note(f"--inputs {count}: there are {len(integers)} inputs, the testbench runs those.")
        fitted = config if keep is None else fit_memories(network, config, keep=keep)
        program = compile_network(network, fitted)
    except CelosiaError as error:
        if read is not None:
            raise
        note(f"no testbench, because the network of celosia demo cannot be had here: {error} Give another --model.")
        return None, config
    return golden_vectors(program, integers, reference), fitted


def _network(
    config: AcceleratorConfig,
    read: Network | FloatNetwork | None,
    model: Path | None,
    inputs: Path | None,
    count: int,
) -> tuple[Network, np.ndarray]:
    """Return a network in integers, and `count` inputs for it, or fewer if there are no more."""
    if read is None:
        images, calibration = (load_digits(split)[0].astype(np.float32) for split in ("test", "train"))
        return prepare(NETWORKS[config.engine_name][""](), images[:count], config, calibration=calibration)
    if inputs is not None:
        values = read_inputs(read, inputs)
        return prepare(read, values[:count], config, calibration=values)
    if isinstance(read, FloatNetwork) or read.input_thresholds is not None:
        raise CelosiaError(f"{model}: the model takes real values; give typical ones with --input X.npy.")
    low, high = integer_range(read.input_dtype)
    values = np.random.default_rng(SEED).integers(low, high + 1, (count, *read.input_shape))
    return prepare(read, values, config)


def _report(part: Part, vectors: Vectors | None, output: Path, files: dict[str, str], as_json: bool) -> None:
    verilog = next(name for name in files if name.endswith(".v"))
    text = files[verilog]
    modules = sum(line.startswith("module ") for line in text.splitlines())
    values: dict[str, Any] = {
        "engine": part.config.engine_name,
        "part": part.name,
        "link": part.link or None,
        "config_hash": part.config.hash,
        "directory": str(output),
        "verilog": str(output / verilog),
        "modules": modules,
        "bytes": len(text.encode()),
        "network": None if vectors is None else vectors.network,
        "answer_words": None if vectors is None else vectors.answer_words,
    }
    if as_json:
        emit(values)
        return
    show(
        f"{output / verilog}: {part.what}, {modules} modules, {len(text.splitlines())} lines",
        f"{output / MANIFEST}: config {part.config.hash}, memories, ports",
        f"{output / LINT}: for verilator --lint-only -Wall {output / LINT} {output / verilog}",
    )
    if vectors is not None:
        show(
            f"{output / 'vectors'}: {vectors.inputs} inputs of {vectors.network}, {vectors.answer_words:,} words back",
            f"make -C {output} icarus (or verilator): runs the testbench; README.md says more",
        )
