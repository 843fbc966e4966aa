"""celosia compress: a float model pruned, its weights shared, as integers for the sparse engine."""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from celosia.host.cli.options import Json
from celosia.host.cli.output import emit, show, table
from celosia.host.cli.run import check_writable, read_inputs, read_labels
from celosia.host.compress import Compression, compress
from celosia.host.compression_report import LayerSizes, compression_report
from celosia.host.errors import CelosiaError
from celosia.host.models import read_model
from celosia.host.models.float_ir import FloatNetwork
from celosia.host.models.ir import Network
from celosia.host.models.npz import write_npz
from celosia.host.prune import quality_densities


def compress_model(
    model: Annotated[Path, typer.Argument(help="Float model: .npz or .onnx.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="OUT.npz", help="File for the compressed network.")],
    calibration: Annotated[
        Path, typer.Option("--calibration", metavar="X.npy", help="Typical inputs: they decide the scales.")
    ],
    density: Annotated[
        float | None, typer.Option("--density", metavar="D", help="Share of each layer's weights that stay.")
    ] = None,
    quality: Annotated[
        float | None,
        typer.Option("--quality", metavar="Q", help="Or: prune weights up to Q standard deviations of their layer."),
    ] = None,
    codebook: Annotated[
        int, typer.Option("--codebook", metavar="BITS", help="Bits of a code, 2 to 8; 0: no shared weights.")
    ] = 4,
    weight_width: Annotated[
        int, typer.Option("--weight-width", metavar="BITS", help="Bits of a weight, 4 to 16.")
    ] = 16,
    activation_width: Annotated[
        int, typer.Option("--activation-width", metavar="BITS", help="Bits of an activation, 8 or 16.")
    ] = 16,
    index_width: Annotated[
        int, typer.Option("--index-width", metavar="BITS", help="Bits of an index that the report counts with.")
    ] = 5,
    inputs: Annotated[
        Path | None,
        typer.Option("--input", "-i", metavar="X.npy", help="Inputs whose accuracy is told, with --labels."),
    ] = None,
    labels: Annotated[Path | None, typer.Option("--labels", metavar="Y.npy", help="Their right classes.")] = None,
    as_json: Json = False,
) -> None:
    """Prune a float model, share its weights, turn it into integers, and tell how small it has become.

    Without --density and --quality nothing is pruned: what is zero already counts as pruned. Accuracy after pruning at
    once is poor; to train between rounds of pruning, call celosia.host.compress with a `retrain` function, as
    examples/train_lenet.py does.
    """
    check_writable(output)
    if output.suffix != ".npz":
        raise CelosiaError(f"{output} must end in .npz.")
    if density is not None and quality is not None:
        raise CelosiaError("--density and --quality exclude each other; give one of them.")
    if (inputs is None) != (labels is None):
        raise CelosiaError("--input and --labels belong together; give both, or neither.")
    network = read_model(model)
    if not isinstance(network, FloatNetwork):
        raise CelosiaError(f"{model}: it is quantized already; a float model can be compressed.")
    typical = read_inputs(network, calibration)
    densities = None if density is None else (density,) * len(network.layers)
    if quality is not None:
        densities = quality_densities(network, quality)
    options = Compression(
        density=densities,
        codebook_width=codebook or None,
        weight_width=weight_width,
        activation_width=activation_width,
        signed=True,
    )
    result = compress(network, typical, options)
    rows = compression_report(result.network, index_width=index_width)
    accuracies: dict[str, float] = {}
    if inputs is not None and labels is not None:
        values = read_inputs(network, inputs)
        right = read_labels(labels, len(values))
        stages = {"float": network, "pruned": result.pruned, "shared": result.shared}
        accuracies = {name: _accuracy(stage.evaluate(values), right) for name, stage in stages.items()}
        accuracies["integers"] = _accuracy(_integer_outputs(result.network, values), right)
    write_npz(output, result.network)
    if as_json:
        emit({"model": str(model), "output": str(output), "accuracy": accuracies, "layers": rows})
    else:
        show_sizes(rows)
        for name, accuracy in accuracies.items():
            show(f"accuracy, {name}: {accuracy:.2%}")
        show(f"compressed network: {output}")


def _integer_outputs(network: Network, values: np.ndarray) -> np.ndarray:
    from celosia.sim.golden.sparse import exact_outputs

    integers = network.quantize_input(values).reshape(len(values), -1)
    for layer in network.layers:
        integers = exact_outputs(layer, integers)
    return integers


def _accuracy(outputs: np.ndarray, labels: np.ndarray) -> float:
    return float(np.mean(outputs.argmax(axis=1) == labels))


def show_sizes(rows: list[LayerSizes]) -> None:
    """Print what compression_report counted, before and after Huffman coding."""
    grid = table("layer", "K × N", "density", "code bits", "index bits", "bytes", "smaller")
    for row in rows:
        grid.add_row(
            row["name"],
            f"{row['shape'][0]} × {row['shape'][1]}" if row["shape"] else "",
            f"{row['density']:.1%}",
            f"{row['code_bits']:.2f} → {row['code_bits_huffman']:.2f}",
            f"{row['index_bits']:.2f} → {row['index_bits_huffman']:.2f}",
            f"{row['total_bytes']:,} → {row['total_bytes_huffman']:,}",
            f"{row['ratio_huffman']:.1f} ×",
        )
    show(grid, "→: Huffman-coded, its tables counted; smaller: than float32, with codebooks and biases")
