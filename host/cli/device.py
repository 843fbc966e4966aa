"""celosia device: what a board or a served simulator is, how it is, and whether the link to it is good."""

import time
from typing import Annotated, Any

import numpy as np
import typer

from celosia.host.cli.machines import connected, describe
from celosia.host.cli.options import Json
from celosia.host.cli.output import emit, note, show, table, yes
from celosia.host.device import Device


def show_device(
    address: Annotated[
        str, typer.Argument(help="A serial port such as /dev/ttyUSB0 or /dev/ttyUSB0@1000000, or tcp:HOST:PORT.")
    ],
    test: Annotated[
        int | None,
        typer.Option("--test", min=1, metavar="BYTES", help="Write so many random bytes, read them back, compare."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Ask a device what it is and how it is; with --test, try the link. A loaded network is lost then.

    Opening a device resets it: a run that another program left behind ends.
    """
    with connected(address, "testing") as (device, transport, progress):
        identity, status = device.identity, device.status()
        report: dict[str, Any] = {
            "address": address,
            "engine": identity.config.engine_name,
            "config_hash": identity.hash,
            "config": identity.config.to_json(),
            "protocol": identity.protocol,
            "state": status.state.name.lower(),
            "memories": {memory.name: memory.depth * memory.link_words * 4 for memory in identity.config.memories},
        }
        if test is not None:
            report["test"] = test_link(device, test, progress)
        report["retransmissions"] = transport.retransmissions
    if as_json:
        emit(report)
    else:
        _show(report, describe(identity.config))
    if test is not None and not report["test"]["equal"]:
        note(f"{address}: what was read back is not what was written.")
        raise typer.Exit(1)


def test_link(device: Device, size: int, progress: Any) -> dict[str, Any]:
    """Fill the largest memory with random words, read it back, and again until `size` bytes have gone each way."""
    spec = max(device.identity.config.memories, key=lambda memory: memory.depth * memory.link_words)
    rng = np.random.default_rng()
    mask = np.full(spec.link_words, 0xFFFFFFFF, np.uint32)
    if spec.width % 32:
        mask[-1] = (1 << spec.width % 32) - 1
    moved, equal, begin = 0, True, time.perf_counter()
    while moved < size and equal:
        entries = min(spec.depth, -(-(size - moved) // (4 * spec.link_words)))
        words = rng.integers(0, 1 << 32, (entries, spec.link_words), np.uint32) & mask
        device.write(spec.name, words)
        equal = bool(np.array_equal(device.read(spec.name, 0, entries), words))
        moved += words.nbytes
        progress(min(moved, size), size)
    seconds = time.perf_counter() - begin
    return {"memory": spec.name, "bytes": moved, "equal": equal, "bytes_per_second": round(2 * moved / seconds)}


def _show(report: dict[str, Any], name: str) -> None:
    grid = table("", report["address"])
    grid.add_row("accelerator", name)
    grid.add_row("config", report["config_hash"])
    grid.add_row("protocol", str(report["protocol"]))
    grid.add_row("state", report["state"])
    for memory, size in report["memories"].items():
        grid.add_row(f"  {memory}", f"{size:,} bytes")
    if "test" in report:
        test = report["test"]
        grid.add_section()
        grid.add_row(f"{test['bytes']:,} bytes to {test['memory']} and back: equal", yes(test["equal"]))
        grid.add_row("bytes per second, both ways together", f"{test['bytes_per_second']:,}")
    grid.add_row("packets sent again", f"{report['retransmissions']:,}")
    show(grid)
