"""Which packets may be on their way together."""

import pytest

from celosia.host.transports.window import Pending, watched
from celosia.hw.protocol import OUTSTANDING, WAIT, Opcode, ProtocolError, Request


def pending(opcode, target=0, address=0, count=0):
    return Pending.of(Request(opcode=opcode, target=target, address=address, count=count).encode())


WRITE = pending(Opcode.WRITE, 1, 10, 5)
OTHERS = {
    "overlapping WRITE": pending(Opcode.WRITE, 1, 14, 5),
    "same WRITE": pending(Opcode.WRITE, 1, 10, 5),
    "WRITE": pending(Opcode.WRITE, 1, 15, 5),
    "WRITE before": pending(Opcode.WRITE, 1, 5, 5),
    "WRITE elsewhere": pending(Opcode.WRITE, 2, 10, 5),
    "READ": pending(Opcode.READ, 1, 10, 5),
    "STATUS": pending(Opcode.STATUS),
    "waiting": pending(Opcode.STATUS, WAIT),
    "IDENTIFY": pending(Opcode.IDENTIFY),
    "RUN": pending(Opcode.RUN),
    "RESET": pending(Opcode.RESET),
    "stream WRITE": pending(Opcode.WRITE, 0x13, 0, 5),
    "stream READ": pending(Opcode.READ, 0x15, 0, 5),
    "unknown": pending(99),
}
CHANGES_NOTHING = {"READ", "STATUS", "waiting", "IDENTIFY"}
STREAMS = {"stream WRITE", "stream READ"}


@pytest.mark.parametrize(
    ("ahead", "may"),
    [
        (WRITE, {"WRITE", "WRITE before", "WRITE elsewhere"} | CHANGES_NOTHING),
        *((OTHERS[name], CHANGES_NOTHING) for name in ("READ", "STATUS", "IDENTIFY")),
        *((OTHERS[name], set()) for name in ("RUN", "RESET", "waiting")),
        *((OTHERS[name], STREAMS) for name in STREAMS),
    ],
)
def test_pairs(ahead, may):
    assert {name for name, request in OTHERS.items() if request.may_follow([ahead])} == may


def test_alone():
    assert all(request.may_follow([]) for request in OTHERS.values())


def test_all_that_are_ahead_count():
    assert OUTSTANDING == 2  # more would have to be thought about anew
    assert not OTHERS["WRITE"].may_follow([OTHERS["READ"], OTHERS["WRITE before"]])
    assert not OTHERS["overlapping WRITE"].may_follow([WRITE, OTHERS["WRITE elsewhere"]])


@pytest.mark.parametrize(
    ("names", "sent"),
    [
        ([], []),
        (["WRITE"], ["WRITE"]),
        (["READ"], ["READ", "STATUS"]),
        (["READ", "STATUS"], ["READ", "STATUS"]),
        (["STATUS", "READ", "READ", "WRITE"], ["STATUS", "READ", "READ", "WRITE", "STATUS"]),
        (["RESET"], ["STATUS", "RESET"]),
        (["READ", "RESET", "WRITE"], ["READ", "STATUS", "RESET", "WRITE"]),
        (["stream READ"], ["READ"]),
    ],
)
def test_restarts_are_watched_for(names, sent):
    found = watched([OTHERS[name].packet for name in names])
    assert [Opcode(request.opcode).name for request in found] == sent
    assert [request.packet for request in found if not request.own] == [OTHERS[name].packet for name in names]


@pytest.mark.parametrize("packet", [b"", b"1234", bytes(16), Request(opcode=1).encode() + b"1"])
def test_no_requests(packet):
    with pytest.raises(ProtocolError, match="are no request"):
        Pending.of(packet)
