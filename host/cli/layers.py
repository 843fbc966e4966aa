"""Where the cycles of each layer go, as a table and as plain values."""

from typing import Any

from celosia.host.cli.output import shares, show, table
from celosia.host.session import Outcome

_TOLD = 3  # causes told per layer
_LEAST = 0.005  # share of the cycles below which a cause is not told


def layer_reports(outcome: Outcome) -> list[dict[str, Any]]:
    """Return a report of each layer: shape and tiles of one iteration, cycles of all iterations, where the weights are.

    The cycles are the cycle model's, which an exact run had, too.
    """
    word_bytes = outcome.program.config.memory("weights").width / 8
    pes = outcome.program.config.engine.pe_count
    reports = []
    first = 0  # step of the layer, in an iteration
    for layer, useful in zip(outcome.program.layers, outcome.useful_macs, strict=True):
        M, K, N = layer.shape
        steps = [
            prediction.by_layer[step]
            for prediction in outcome.predictions
            for step in range(first, first + len(layer.steps))
        ]
        causes = {name: sum(step[name] for step in steps) for name in outcome.program.config.causes}
        cycles = sum(causes.values())
        first += len(layer.steps)
        reports.append(
            {
                "name": layer.name,
                "kind": layer.kind,
                "mode": layer.mode,
                "m": M,
                "k": K,
                "n": N,
                "tiles": layer.tiles,
                "macs": layer.macs,
                "read_bytes": layer.read_bytes,
                "written_bytes": layer.written_bytes,
                "streamed_bytes": int(layer.streamed_words * word_bytes),
                "weight_read_bytes": layer.weight_read_bytes,
                "cycles": cycles,
                "causes": causes,
                "utilization": useful / (pes * cycles) if cycles else 0.0,
                "weights": layer.reason,
            }
        )
    return reports


def show_layers(reports: list[dict[str, Any]], *, modelled: bool) -> None:
    """Print a table of the layers, then what was chosen for which of them.

    Parameters
    ----------
    reports : list of dict
        From `layer_reports`.
    modelled : bool
        Whether the cycles are nothing but the cycle model's: no counters were compared with them.
    """
    title = "Layers; cycles by the cycle model, streams never waiting" if modelled else "Layers"
    grid = table("layer", "M × K × N", "tiles", "cycles", "utilization", "cycles by cause", title=title)
    grid.columns[-1].justify = "left"
    for number, report in enumerate(reports):
        told = [item for item in shares(report["causes"]).items() if item[1] >= _LEAST][:_TOLD]
        grid.add_row(
            f"{number} {report['name']}\n[dim]{report['kind']}[/dim]",
            f"{report['m']} × {report['k']} × {report['n']}" if report["m"] else "",
            " × ".join(map(str, report["tiles"].values())) if report["m"] else "",
            f"{report['cycles']:,}",
            f"{report['utilization']:.1%}",
            "\n".join(f"{name} {share:.0%}" for name, share in told),
        )
    show(grid)
    reasons: dict[str, list[int]] = {}
    for number, report in enumerate(reports):
        for reason in report["weights"].split("; "):
            weighted = reason.startswith(("resident", "streamed"))
            reasons.setdefault(f"weights {reason}" if weighted else reason, []).append(number)
    for reason, numbers in reasons.items():
        which = "all layers" if len(numbers) == len(reports) else _ranges(numbers)
        show(f"{which}: {reason}")


def _ranges(numbers: list[int]) -> str:
    """Return the numbers of layers, which rise, as text: runs of them as `first to last`."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    texts = [str(run[0]) if len(run) == 1 else f"{run[0]} to {run[-1]}" for run in runs]
    return f"{'layer' if len(numbers) == 1 else 'layers'} {', '.join(texts)}"
