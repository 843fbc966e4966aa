"""What a host needs of a link to a device."""

from collections.abc import Sequence
from typing import Protocol


class Transport(Protocol):
    """A link to one device: serial, network, simulator.

    The device answers every packet exactly once, in order, and buffers `celosia.hw.protocol.OUTSTANDING` of them: a
    transport may have that many unanswered packets under way, and has to collect answers while it sends.
    """

    def exchange(self, packets: Sequence[bytes]) -> list[bytes]:
        """Send packets back to back and return their answers, in order.

        Raises
        ------
        DeviceError
            The link failed, or an answer did not come.
        """
        ...

    def close(self) -> None:
        """Give the link back; nothing may be sent afterwards."""
        ...
