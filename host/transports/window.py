"""Packets on their way, and which of them may be on their way together."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from celosia.hw.protocol import REQUEST_MAGIC, STREAM, WAIT, Opcode, ProtocolError, Request, checksum

_TRANSFERS = (Opcode.WRITE, Opcode.READ)


@dataclass(eq=False)
class Pending:
    """A request of an exchange, and what became of it.

    Parameters
    ----------
    packet : bytes
        As the caller numbered it.
    opcode, target, address, count : int
        Of the request.
    own : bool
        The transport's own: its answer is not the caller's.
    number : int
        Sequence number on the link.
    sendings : int
        Times it was sent.
    size : int
        Bytes of its frame.
    was_idle : bool
        When it was first sent, no run was in progress.
    answer : bytes
        Once there is one, as the caller numbered it.
    """

    packet: bytes
    opcode: int
    target: int
    address: int
    count: int
    own: bool = False
    number: int = 0
    sendings: int = 0
    size: int = 0
    was_idle: bool = False
    answer: bytes = b""

    @classmethod
    def of(cls, packet: bytes) -> "Pending":
        """Take a request apart.

        Raises
        ------
        ProtocolError
            It is none.
        """
        if len(packet) < 16 or len(packet) % 4 or packet[0] != REQUEST_MAGIC:
            raise ProtocolError(f"{len(packet)} bytes that begin with {packet[:4].hex()} are no request.")
        return cls(
            packet=packet,
            opcode=packet[1],
            target=packet[3],
            address=int.from_bytes(packet[4:8], "little"),
            count=int.from_bytes(packet[8:12], "little"),
        )

    @classmethod
    def status(cls) -> "Pending":
        """Return a STATUS of the transport's own."""
        pending = cls.of(Request(opcode=Opcode.STATUS).encode())
        pending.own = True
        return pending

    @property
    def streams(self) -> bool:
        """Whether it moves words of a run's streams, and so must not be sent twice."""
        return self.opcode in _TRANSFERS and bool(self.target & STREAM)

    @property
    def waits(self) -> bool:
        """Whether it asks for an answer when no run is in progress."""
        return self.opcode == Opcode.STATUS and bool(self.target & WAIT)

    def numbered(self) -> bytes:
        """Return the request as it is sent: with its number on the link, and never waiting."""
        target = self.target & ~WAIT if self.waits else self.target
        body = self.packet[:2] + bytes((self.number, target)) + self.packet[4:-4]
        return body + checksum(body)

    def keep(self, answer: bytes) -> None:
        """Keep an answer, with the number that the caller expects."""
        if answer[2] != self.packet[2]:
            body = answer[:2] + self.packet[2:3] + answer[3:-4]
            answer = body + checksum(body)
        self.answer = answer

    def may_follow(self, ahead: Sequence["Pending"]) -> bool:
        """Return whether it may be sent while those are unanswered: see `celosia.host.transports.framed`."""
        if not ahead:
            return True
        if self.streams or any(other.streams for other in ahead):
            return self.streams and all(other.streams for other in ahead)
        if any(other.waits or other.opcode in (Opcode.RUN, Opcode.RESET) for other in ahead):
            return False
        if self.opcode == Opcode.WRITE:
            return all(other.opcode == Opcode.WRITE and not self._overlaps(other) for other in ahead)
        return self.opcode in (Opcode.READ, Opcode.STATUS, Opcode.IDENTIFY)

    def _overlaps(self, other: "Pending") -> bool:
        return (
            self.target == other.target
            and self.address < other.address + other.count
            and other.address < self.address + self.count
        )


def watched(packets: Iterable[bytes]) -> list[Pending]:
    """Return the requests of an exchange, with STATUS wherever a restart of the device would pass unnoticed else.

    That is before RESET, after which the device does not tell any more, and behind the last READ of a memory: what was
    read counts only if the device had not restarted by then.
    """
    pending: list[Pending] = []
    unsure = False
    for packet in packets:
        request = Pending.of(packet)
        if request.opcode == Opcode.RESET:
            pending.append(Pending.status())
        if request.opcode in (Opcode.STATUS, Opcode.RESET):
            unsure = False
        elif request.opcode == Opcode.READ and not request.streams:
            unsure = True
        pending.append(request)
    return [*pending, Pending.status()] if unsure else pending
