"""What `celosia simulate --pty` and `--tcp` do: the RTL behind a serial line or a network port."""

import signal
from pathlib import Path
from typing import Any

from celosia.host.cli.machines import describe
from celosia.host.cli.output import emit, note, notices, show, working
from celosia.host.errors import CelosiaError
from celosia.host.serving import PseudoTerminal, TcpEndpoint, check_link, serve
from celosia.hw.config import AcceleratorConfig


def split_address(text: str) -> tuple[str, int]:
    """Return host and port of ``HOST:PORT`` or ``PORT``.

    Raises
    ------
    CelosiaError
        It is neither.
    """
    host, _, port = text.rpartition(":")
    if not port.isdecimal() or int(port) > 0xFFFF:
        raise CelosiaError(f"--tcp {text!r} must be PORT or HOST:PORT, such as 7000 or localhost:7000.")
    return host or "localhost", int(port)


def serve_serial(config: AcceleratorConfig, *, clock_mhz: float, baud: float, link: Path | None, as_json: bool) -> None:
    """Serve the accelerator with its UART, bit by bit, behind a pseudo-terminal until Ctrl-C."""
    from celosia.sim.rtl import SlowSimulation
    from celosia.sim.wire import serial_wire

    check_link(link)
    with notices(SlowSimulation), working(f"building the simulator of {describe(config)}, serial") as report:
        wire = serial_wire(config, clock_hz=clock_mhz * 1e6, baud=baud, progress=report)
    endpoint = PseudoTerminal(link)  # not before: who opens it expects an answer
    how = f"serial port, {baud:,.0f} baud at {clock_mhz:g} MHz"
    _serve(wire, endpoint, config, how=how, as_json=as_json)


def serve_tcp(config: AcceleratorConfig, *, address: str, as_json: bool) -> None:
    """Serve the accelerator on a TCP port, a byte per clock cycle, until Ctrl-C."""
    from celosia.sim.rtl import SlowSimulation
    from celosia.sim.wire import byte_wire

    endpoint = TcpEndpoint(*split_address(address))
    with notices(SlowSimulation), working(f"building the simulator of {describe(config)}, bytes") as report:
        wire = byte_wire(config, progress=report)
    _serve(wire, endpoint, config, how="a byte per clock cycle", as_json=as_json)


def _serve(wire: Any, endpoint: Any, config: AcceleratorConfig, *, how: str, as_json: bool) -> None:
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # services are ended by it
    try:
        if as_json:
            emit({"address": endpoint.address, "engine": config.engine_name, "config_hash": config.hash})
        else:
            show(
                f"{describe(config)}, config {config.hash}: {how}",
                f"address: {endpoint.address}",
                f"  celosia device {endpoint.address}",
                f"  celosia run MODEL --input X.npy --device {endpoint.address}",
                "Ctrl-C ends it.",
            )
        serve(wire, endpoint)
    except KeyboardInterrupt:  # which is how this is meant to end
        note(f"ended after {wire.cycle:,} cycles.")
    finally:
        endpoint.close()
        wire.close()
