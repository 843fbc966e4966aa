"""How fast the host moves bytes, and how much of the time is Python's.

Writes random words to the weight memory and reads them back, over the in-process link (a 32-bit word per clock cycle in
each direction) and over TCP (a byte per clock cycle, framed), both into the RTL under Verilator. Megabytes per second
are this machine's; the share of the time that is not spent in the simulator's C++ is what Python costs.

    python bench/link.py [--megabytes 4] [--json]
"""

import argparse
import json
import multiprocessing
import threading
import time
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from celosia.host.device import Device
from celosia.host.serving import TcpEndpoint, serve
from celosia.host.transports.address import open_port
from celosia.hw.config import AcceleratorConfig
from celosia.hw.systolic.config import SystolicConfig
from celosia.sim.device import SimulatedDevice
from celosia.sim.wire import byte_wire

CONFIG = AcceleratorConfig(engine=SystolicConfig(rows=8, cols=8), weight_depth=1 << 14, packet_words=1024)


class Stopwatch:
    """Seconds spent in a simulator's `run`, which is C++ but for a call."""

    def __init__(self, owner: Any) -> None:
        self.seconds = 0.0
        self._run = owner.run
        owner.run = self

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        begin = time.perf_counter()
        try:
            return self._run(*args, **kwargs)
        finally:
            self.seconds += time.perf_counter() - begin


def move(device: Device, megabytes: float) -> dict[str, float]:
    """Write and read back so many megabytes in each direction, and compare them."""
    spec = CONFIG.memory("weights")
    words = np.random.default_rng(1).integers(0, 1 << 32, (spec.depth, spec.link_words), np.uint32)
    rounds = max(1, round(megabytes * 1e6 / words.nbytes))
    seconds = {"write": 0.0, "read": 0.0}
    for _ in range(rounds):
        begin = time.perf_counter()
        device.write("weights", words)
        middle = time.perf_counter()
        back = device.read("weights")
        seconds["write"] += middle - begin
        seconds["read"] += time.perf_counter() - middle
        assert np.array_equal(back, words), "what was read is not what was written"
    moved = rounds * words.nbytes / 1e6
    return {
        "megabytes": moved,
        "write_mb_per_s": moved / seconds["write"],
        "read_mb_per_s": moved / seconds["read"],
        "seconds": sum(seconds.values()),
    }


def in_process(megabytes: float) -> dict[str, float]:
    """Host and simulator in one process."""
    transport = SimulatedDevice(CONFIG)
    with Device(transport) as device:
        _ = device.identity
        watch = Stopwatch(transport.sim)
        found = move(device, megabytes)
    return {**found, "simulator_share": watch.seconds / found["seconds"]}


def server(pipe: Connection) -> None:
    """Serve a byte wire until told to stop; then tell the seconds in the simulator and of this process."""
    wire = byte_wire(CONFIG)
    endpoint = TcpEndpoint("localhost", 0)
    watch = Stopwatch(wire.sim)
    pipe.send(endpoint.address)
    stopped = threading.Event()
    threading.Thread(target=lambda: (pipe.recv(), stopped.set()), daemon=True).start()
    serve(wire, endpoint, until=stopped.is_set)
    pipe.send({"simulator": watch.seconds, "process": time.process_time()})
    endpoint.close()
    wire.close()


def over_tcp(megabytes: float) -> dict[str, float]:
    """Host and simulator in two processes."""
    mine, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=server, args=(theirs,), daemon=True)
    process.start()
    transport = open_port(mine.recv())
    with Device(transport) as device:
        _ = device.identity
        begin = time.process_time()
        found = move(device, megabytes)
        host = time.process_time() - begin
    mine.send("stop")
    told = mine.recv()
    process.join()
    return {
        **found,
        "simulator_share": told["simulator"] / found["seconds"],
        "host_share": host / found["seconds"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=float, default=4.0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    byte_wire(CONFIG).close()  # builds are not part of the figures
    results = {"in process": in_process(options.megabytes), "TCP": over_tcp(options.megabytes)}
    if options.json:
        print(json.dumps(results))
        return
    print(f"{'link':<12}{'MB each way':>12}{'write MB/s':>12}{'read MB/s':>12}{'simulator':>12}{'host Python':>12}")
    for name, found in results.items():
        host = found.get("host_share", 1 - found["simulator_share"])
        print(
            f"{name:<12}{found['megabytes']:>12.1f}{found['write_mb_per_s']:>12.2f}{found['read_mb_per_s']:>12.2f}"
            f"{found['simulator_share']:>12.1%}{host:>12.1%}"
        )


if __name__ == "__main__":
    main()
