"""Block RAM of ECP5 with its output register, which synthesis does not put to use by itself."""

from typing import Any

from amaranth.hdl import Cat, ClockSignal, Const, Instance, Module, Signal, Value

from celosia.hw.block_shapes import BYTE, has_shape, pieces


def suits(depth: int, platform: object) -> bool:
    """Return whether `add_block_ram` makes a memory of so many rows."""
    return getattr(platform, "family", None) == "ecp5" and has_shape(depth)


def add_block_ram(m: Module, name: str, *, lanes: int, write: Any, read_address: Value, depth: int) -> Value:
    """Add a memory with a write port and a read port; return the word that is read, two cycles after its address.

    Pins are connected as yosys connects them (`lattice/brams_map_16kd.v`): port A writes, port B reads; in the widest
    shape the lower half of a word has the pins of A, the upper half those of B, for both. Without the output register
    a word would come most of a cycle after the clock.

    Parameters
    ----------
    m : Module
        Gets the blocks, as submodules `NAME_0`, `NAME_1`, ….
    name : str
        Beginning of their names.
    lanes : int
        Equal parts of a word, written separately.
    write : port
        `enable`, a bit for each lane, `address` and `data`.
    read_address : Value
        Address of the word to read.
    depth : int
        Rows, for which `suits` holds.
    """
    width, rows, cut = pieces(len(write.data), lanes, depth)
    byte = min(width, BYTE)
    parts = [(lane, write.data[first:end]) for lane, first, end in cut]
    word = []
    per_block = width // byte
    for index, first in enumerate(range(0, len(parts), per_block)):
        inside = parts[first : first + per_block]
        enables = Cat(write.enable[lane] for lane, _ in inside)
        data = Cat(Cat(piece, Const(0, byte - len(piece))) for _, piece in inside)
        found = Signal(width, name=f"{name}_{index}_data")
        m.submodules[f"{name}_{index}"] = _block(width, rows, enables, write.address, data, read_address, found)
        word += [found[part * byte : part * byte + len(piece)] for part, (_, piece) in enumerate(inside)]
    return Cat(word)


def _block(
    width: int, rows: int, enables: Value, write_address: Value, data: Value, read_address: Value, found: Signal
) -> Instance:
    low = 14 - (rows - 1).bit_length()  # unused lowest bits of an address
    parts = max(width // BYTE, 1)
    enable = [enables[part] if part < len(enables) else Const(0, 1) for part in range(parts)]
    ports: dict[str, Any] = {}
    for bit in range(14):
        for port, address in (("A", write_address), ("B", read_address)):
            inside = low <= bit < low + len(address)
            ports[f"i_AD{port}{bit}"] = address[bit - low] if inside else Const(0, 1)
    if parts > 1:
        ports |= {f"i_ADA{part}": enable[part] for part in range(parts)}
    for bit in range(18):
        ports[f"i_DIA{bit}"] = data[bit] if bit < len(data) else Const(0, 1)
        if width == 36:
            ports[f"i_DIB{bit}"] = data[18 + bit] if 18 + bit < len(data) else Const(0, 1)
            ports[f"o_DOA{bit}"] = found[bit]
            ports[f"o_DOB{bit}"] = found[18 + bit]
        else:
            ports[f"i_DIB{bit}"] = Const(0, 1)
            if bit < width:
                ports[f"o_DOB{bit}"] = found[bit]
    for port in "AB":
        ports |= {
            f"i_CLK{port}": ClockSignal("sync"),
            f"i_CE{port}": Const(1, 1),
            f"i_OCE{port}": Const(1, 1),
            f"i_RST{port}": Const(0, 1),
            **{f"i_CS{port}{bit}": Const(0, 1) for bit in range(3)},
            f"p_CLK{port}MUX": f"CLK{port}",
            f"p_CSDECODE_{port}": "0b000",
            f"p_DATA_WIDTH_{port}": width,
            f"p_REGMODE_{port}": "OUTREG",
        }
        if width != 36:
            ports[f"p_WRITEMODE_{port}"] = "READBEFOREWRITE"
    return Instance(
        "DP16KD",
        **ports,
        # In the widest shape the bytes' enables alone write.
        i_WEA=Const(1, 1) if width == 36 else Cat(enable).any(),
        i_WEB=Const(0, 1),
        p_GSR="DISABLED",
        p_RESETMODE="SYNC",
        p_ASYNC_RESET_RELEASE="SYNC",
    )
