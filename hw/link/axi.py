"""What AXI tools want to know about ports: Vivado's IP packager recognizes interfaces by these attributes."""

from collections.abc import Iterable

CLOCK_PORTS = ("aclk", "aresetn")


def port_attributes(kind: str, ports: Iterable[str], buses: tuple[str, ...]) -> dict[str, dict[str, str]]:
    """Return the attributes of ports by their names, clock and reset included.

    Parameters
    ----------
    kind : str
        The interface, such as "axis" or "aximm".
    ports : iterable of str
        Ports; those of a bus begin with its name and an underscore, the others have no attributes.
    buses : tuple of str
        Names of buses, such as "s_axis".
    """
    attributes = {
        "aclk": {
            "X_INTERFACE_INFO": "xilinx.com:signal:clock:1.0 aclk CLK",
            "X_INTERFACE_PARAMETER": f"ASSOCIATED_BUSIF {':'.join(buses)}, ASSOCIATED_RESET aresetn",
        },
        "aresetn": {
            "X_INTERFACE_INFO": "xilinx.com:signal:reset:1.0 aresetn RST",
            "X_INTERFACE_PARAMETER": "POLARITY ACTIVE_LOW",
        },
    }
    for port in ports:
        for bus in buses:
            if port.startswith(f"{bus}_"):
                role = port.removeprefix(f"{bus}_").upper()
                attributes[port] = {"X_INTERFACE_INFO": f"xilinx.com:interface:{kind}:1.0 {bus} {role}"}
    return attributes
