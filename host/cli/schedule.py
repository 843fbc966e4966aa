"""celosia schedule: what the packer of the sparse engine chose for a model, and what each choice saves."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import typer

from celosia.host.cli.machines import describe
from celosia.host.cli.options import ConfigFile, Json, Settings, read_config
from celosia.host.cli.output import emit, show, table
from celosia.host.cli.run import read_inputs
from celosia.host.compile import compile_network
from celosia.host.errors import CompileError
from celosia.host.models import read_model
from celosia.host.models.ir import Network
from celosia.host.pack.sparse_layers import EIE, SparseOptions
from celosia.host.prepare import prepare
from celosia.host.program import Program
from celosia.hw.config import AcceleratorConfig

ALTERNATIVES: Final = {
    "as chosen": SparseOptions(),
    "rows in turn": SparseOptions(balance=False),
    "no shared rows": SparseOptions(group=1),
    "4-bit relative": SparseOptions(group=1, relative_width=4),
    "queues of 8": SparseOptions(queue_limit=8),
    "empties queued": SparseOptions(keep_empty=True),
    "all: EIE's": EIE,
}
"""What is compared: the packer's choices undone, one at a time (rows to PEs by load, PEs that share rows, absolute
indices, queues as deep as they are, look-up before the queue), then all of them: the machine of the EIE paper."""


def compare(network: Network, inputs: np.ndarray, config: AcceleratorConfig) -> list[dict[str, Any]]:
    """Return cycles and storage of a network for each of the alternatives; those a config cannot have are left out.

    Parameters
    ----------
    network : Network
        Of compressed layers.
    inputs : ndarray (n, …), integers of the network's input type
        Which activations are zero decides the cycles.
    config : AcceleratorConfig
    """
    from celosia.sim import reference

    engine: Any = config.engine
    rows = []
    for name, options in ALTERNATIVES.items():
        if (options.queue_limit or 0) > engine.queue_depth:
            options = replace(options, queue_limit=None)
        try:
            program = compile_network(network, config, batch=len(inputs), options=options)
        except CompileError:
            continue
        cycles = sum(prediction.total for prediction in reference.predict_each(program, inputs))
        rows.append({"choice": name, "cycles": cycles, **_storage(program)})
    return rows


def _storage(program: Program) -> dict[str, float]:
    layers = [layer.arranged for layer in program.layers]
    entries = [tile.entries for layer in layers for tile in layer.tiles]
    engine: Any = program.config.engine
    count = sum(each.count for each in entries)
    used = max(sum(layer.work for layer in layers), 1)
    return {
        "entries": count,
        "padding": sum(int(np.count_nonzero(each.pads)) for each in entries),
        "entry_bits_per_weight": count * engine.entry_width / used,
    }


def layer_choices(program: Program) -> list[dict[str, Any]]:
    """Return what was chosen for each layer."""
    return [
        {
            "name": layer.name,
            "k": layer.shape[1],
            "n": layer.shape[2],
            "density": layer.arranged.layer.density,
            "group": layer.arranged.tiles[0].schedule.group,
            "indices": "relative" if layer.arranged.options.relative_width else "absolute",
            "steps": len(layer.steps),
            "weights": layer.reason,
        }
        for layer in program.layers
    ]


def schedule_model(
    model: Annotated[Path, typer.Argument(help="Model file: float, or compressed by celosia compress.")],
    inputs: Annotated[Path, typer.Option("--input", "-i", metavar="X.npy", help="Inputs: zeros in them save cycles.")],
    config: ConfigFile = None,
    settings: Settings = None,
    as_json: Json = False,
) -> None:
    """Tell how a model is laid out on the sparse engine, and what each choice saves, by the exact cycle model."""
    chosen = read_config("sparse", file=config, settings=settings)
    read = read_model(model)
    network, integers = prepare(read, read_inputs(read, inputs), chosen)
    program = compile_network(network, chosen, batch=len(integers))
    layers, rows = layer_choices(program), compare(network, integers, chosen)
    if as_json:
        emit({"engine": "sparse", "config_hash": chosen.hash, "layers": layers, "choices": rows})
        return
    grid = table("layer", "K × N", "density", "PEs sharing rows", "indices", "steps", title=describe(chosen))
    for layer in layers:
        shape = f"{layer['k']} × {layer['n']}"
        grid.add_row(
            layer["name"], shape, f"{layer['density']:.1%}", str(layer["group"]), layer["indices"], str(layer["steps"])
        )
    choices = table("choice", "cycles", "", "entries", "padding", "bits per weight", title=f"{len(integers)} inputs")
    for row in rows:
        choices.add_row(
            row["choice"],
            f"{row['cycles']:,}",
            f"{row['cycles'] / rows[0]['cycles']:.3f} ×",
            f"{row['entries']:,}",
            f"{row['padding']:,}",
            f"{row['entry_bits_per_weight']:.2f}",
        )
    show(grid, "", choices)
    for layer in layers:
        show(f"{layer['name']}: weights {layer['weights']}")
