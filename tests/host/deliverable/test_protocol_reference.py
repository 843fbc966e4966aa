from pathlib import Path

from celosia.host.deliverable.protocol_reference import framed_bytes, protocol_reference
from celosia.hw.bus_registers import BUS_REGISTERS
from celosia.hw.link.table import LINKS
from celosia.hw.protocol import Opcode, Request, StatusCode, Target

ROOT = Path(__file__).resolve().parents[3]
COMMAND = "python -m celosia.host.deliverable.protocol_reference > docs/protocol.md"


def test_the_committed_page_is_up_to_date():
    assert (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8") == protocol_reference(), COMMAND


def test_everything_is_in_it():
    text = protocol_reference()
    for code in [*Opcode, *Target]:
        assert f"| 0x{code:02X} | {code.name} |" in text
    for status in StatusCode:
        assert f"| 0x{status:02X} | {status.name} | {status.sentence} |" in text
    for register in BUS_REGISTERS:
        assert f"| 0x{register.offset:02X} | {register.name} |" in text
    for link in LINKS:
        assert f"| {link} | {LINKS[link].summary} |" in text
    assert COMMAND in text


def test_bytes_in_a_frame():
    assert framed_bytes(b"\x00\x7e\x7d\x5e") == bytes.fromhex("7e 00 7d5e 7d5d 5e 7e")
    assert Request.decode(bytes.fromhex("ce067e00 00000000 00000000 09b275c2")).sequence == 0x7E
