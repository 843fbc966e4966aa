"""Topologies of SCALE-Sim: what their lines say, and the matrix product that each becomes."""

import os
from pathlib import Path

import pytest

from celosia.host.compile import compile_network
from celosia.host.errors import CelosiaError
from celosia.host.fit import fit_memories
from celosia.hw.config import AcceleratorConfig
from celosia.hw.systolic.config import SystolicConfig
from celosia.sim.explore.topology import ConvLayer, GemmLayer, read_topology

HEADER = "Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, Strides,\n"


def write(folder: Path, text: str) -> Path:
    path = folder / "net.csv"
    path.write_bytes(text.encode())
    return path


def test_convolutions(tmp_path: Path) -> None:
    lines = "first, 10,11 , 3,2,5,7, 2,\r\n\r\nlast,4,4,4,4,1,1,1\nsparse,9,9,1,1,8,8,1, 2 : 4,\n\n"
    topology = read_topology(write(tmp_path, "\ufeff" + HEADER + lines))
    assert topology.name == "net"
    assert topology.layers == (
        ConvLayer(name="first", image=(10, 11), kernel=(3, 2), channels=5, filters=7, strides=(2, 2)),
        ConvLayer(name="last", image=(4, 4), kernel=(4, 4), channels=1, filters=1),
        ConvLayer(name="sparse", image=(9, 9), kernel=(1, 1), channels=8, filters=8, sparsity=(2, 4)),
    )


def test_two_strides(tmp_path: Path) -> None:
    header = "layer,ifmap_height,ifmap_width,filter_height,filter_width,channels,num_filter,stride_h,stride_w,sparsity"
    (layer, other) = read_topology(write(tmp_path, f"{header}\na,8,8,1,1,3,4,2,3,\nb,8,8,1,1,3,4,2,3,1:2\n")).layers
    assert layer == ConvLayer(name="a", image=(8, 8), kernel=(1, 1), channels=3, filters=4, strides=(2, 3))
    assert isinstance(other, ConvLayer)
    assert (other.strides, other.sparsity) == ((2, 3), (1, 2))


def test_products(tmp_path: Path) -> None:
    topology = read_topology(write(tmp_path, "\nLAYER, m , n, k,\r\n1,2,3,4,\r\nlast, 5,6,7\r\nhalf,5,6,7,2:4,"))
    assert topology.layers == (
        GemmLayer(name="1", M=2, N=3, K=4),
        GemmLayer(name="last", M=5, N=6, K=7),
        GemmLayer(name="half", M=5, N=6, K=7, sparsity=(2, 4)),
    )


def test_depthwise_by_name(tmp_path: Path) -> None:
    layers = read_topology(write(tmp_path, HEADER + "DP1,8,8,3,3,3,1,1,\nConv,8,8,3,3,3,1,1,")).layers
    assert [layer.name for layer in layers] == ["DP1Channel_0", "DP1Channel_1", "DP1Channel_2", "Conv"]
    assert [layer.gemm for layer in layers] == [(36, 9, 1)] * 3 + [(36, 27, 1)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "net.csv is empty"),
        ("\n , ,\n", "net.csv is empty"),
        (HEADER, "has a header, but no layer"),
        ("Conv1,224,224,7,7,3,64,2,\n", "line 1: 'Conv1, 224, 224, 7, 7, 3, 64, 2' is the header neither"),
        ("\nLayer,M,K,N,\na,1,2,3,\n", "line 2: the columns Layer, M, K, N are in an order"),
        ("Layer,M,N,K,\na,1,2,\n", r"line 2, column 4 \(K\): '' must be a whole number from 1"),
        ("Layer,M,N,K,\n\na,1,0,3,\n", r"line 3, column 3 \(N\): '0' must be a whole number from 1"),
        ("Layer,M,N,K,\na,1,2,3,4,\n", r"line 2, column 5 \(after the last\): '4' must be the last cell or a sparsity"),
        ("Layer,M,N,K,\na,1,2,3,4:2,\n", r"line 2, column 5 \(Sparsity\): '4:2' must be N:M with N from 1 to M"),
        ("Layer,M,N,K,\n,1,2,3,\n", r"line 2, column 1 \(Layer\): '' must be the name"),
        ("Layer,M,N,K,\na,1:2\n", r"line 2, column 2 \(M\): '1:2' must be"),
        (HEADER + "a,8,8,3,3,x,4,1,\n", r"line 2, column 6 \(Channels\): 'x' must be a whole number from 1"),
        (HEADER + "a,8,8,3,3,-1,4,1,\n", r"column 6 \(Channels\): '-1' must be"),
        (HEADER + "a,8,8,3,3,1,4,1.5,\n", r"column 8 \(Strides\): '1.5' must be"),
        (HEADER + "a,8,8,3,3,1,4,\n", r"column 8 \(Strides\): '' must be"),
        (HEADER + "a,8,8,3,3,1,4,1,1,1\n", r"column 10 \(after the last\): '1' must be"),
        (HEADER + "a,8,7,8,8,1,4,1,\n", r"column 5 \(Filter Width\): '8' must be at most the 7 of the IFMAP"),
        (HEADER + f"a,8,8,3,3,{'9' * 5000},4,1,\n", r"column 6 \(Channels\)"),
    ],
)
def test_bad_files(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(CelosiaError, match=message):
        read_topology(write(tmp_path, text))


def test_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(CelosiaError, match=r"none\.csv cannot be read: No such file"):
        read_topology(tmp_path / "none.csv")
    (tmp_path / "net.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CelosiaError, match="it is not text in UTF-8"):
        read_topology(tmp_path / "net.csv")


@pytest.mark.parametrize(
    ("layer", "gemm", "output"),
    [
        (GemmLayer(name="rows", M=10, K=30, N=20), (10, 30, 20), (1, 10, 20)),
        (GemmLayer(name="one", M=1, K=1, N=1), (1, 1, 1), (1, 1, 1)),
        (GemmLayer(name="many", M=40_000, K=2, N=1), (40_000, 2, 1), (2, 20_000, 1)),
        (ConvLayer(name="one", image=(5, 9), kernel=(1, 1), channels=5, filters=3), (45, 5, 3), (5, 9, 3)),
        (ConvLayer(name="all", image=(7, 7), kernel=(7, 7), channels=9, filters=3), (1, 441, 3), (1, 1, 3)),
        # (10 − 3) / 2 and (11 − 3) / 3 are no whole numbers: SCALE-Sim counts windows that reach out of the image.
        (
            ConvLayer(name="out", image=(10, 11), kernel=(3, 3), channels=9, filters=7, strides=(2, 3)),
            (20, 81, 7),
            (5, 4, 7),
        ),
        (
            ConvLayer(name="gaps", image=(8, 8), kernel=(1, 1), channels=9, filters=4, strides=(3, 3)),
            (16, 9, 4),
            (4, 4, 4),
        ),
    ],
    ids=lambda value: getattr(value, "name", None),
)
@pytest.mark.parametrize("size", [(8, 8), (4, 6)])
def test_compiles_to_its_product(
    layer: ConvLayer | GemmLayer, gemm: tuple[int, int, int], output: tuple[int, int, int], size: tuple[int, int]
) -> None:
    network = layer.network()
    assert (layer.gemm, network.output_shape) == (gemm, output)
    assert layer.macs == network.macs == gemm[0] * gemm[1] * gemm[2]
    config = AcceleratorConfig(engine=SystolicConfig(rows=size[0], cols=size[1]))
    (plan,) = compile_network(network, fit_memories(network, config)).layers
    assert (plan.shape, plan.mode, len(plan.steps)) == (gemm, "MATRIX", 1)


def test_too_many_rows() -> None:
    with pytest.raises(CelosiaError, match='layer "prime": M=65537 must be at most 32768, or a product of two'):
        GemmLayer(name="prime", M=65_537, K=1, N=1).network()


@pytest.mark.skipif("CELOSIA_DATA" not in os.environ, reason="CELOSIA_DATA does not name the topologies")
@pytest.mark.parametrize(
    ("name", "layers", "last"),
    [
        ("Resnet18", 21, (1, 512, 1000)),
        ("alexnet", 5, (121, 3456, 256)),
        ("gnmt", 17, (1600, 1024, 1024)),
        ("mobilenet", 27, (49, 1024, 1024)),
        ("vit_s", 5, (196, 1536, 384)),
    ],
)
def test_published_topologies(name: str, layers: int, last: tuple[int, int, int]) -> None:
    topology = read_topology(Path(os.environ["CELOSIA_DATA"]) / "scalesim" / f"{name}.csv")
    assert (topology.name, len(topology.layers), topology.layers[-1].gemm) == (name, layers, last)
