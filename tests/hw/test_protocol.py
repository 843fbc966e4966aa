import json
import random
import zlib

import pytest

from celosia.hw.config import AcceleratorConfig
from celosia.hw.protocol import (
    Answer,
    Opcode,
    ProtocolError,
    Request,
    RunParameters,
    State,
    StatusCode,
    StatusReport,
    identity,
)
from celosia.hw.systolic.config import SystolicConfig

HASH = "0123456789abcdef"


def test_request_bytes():
    packet = Request(opcode=Opcode.WRITE, sequence=5, target=3, address=0x010203, count=1, payload=b"\1\2\3\4").encode()
    assert packet[:-4] == bytes.fromhex("ce020503 03020100 01000000 01020304")
    assert int.from_bytes(packet[-4:], "little") == zlib.crc32(packet[:-4])


def test_checksum_is_the_published_one():
    packet = b"123456789"
    request = Request(opcode=1).encode()
    assert zlib.crc32(packet) == 0xCBF43926  # check value of CRC-32/ISO-HDLC
    assert zlib.crc32(request) == 0x2144DF1C  # its residue: what any packet with its own checksum gives


def test_answer_bytes():
    packet = Answer(opcode=Opcode.READ, sequence=0xFF, status=StatusCode.ABORTED, payload=b"\1\2\3\4").encode()
    assert packet[:-4] == bytes.fromhex("ca03ff00 01020304 0e000100")


@pytest.mark.parametrize("payload", [b"", b"1234", bytes(1024)])
def test_there_and_back(payload):
    request = Request(opcode=2, sequence=77, target=21, address=99, count=3, payload=payload)
    assert Request.decode(request.encode()) == request
    answer = Answer(opcode=2, sequence=77, status=StatusCode.BUSY, payload=payload)
    assert Answer.decode(answer.encode()) == answer


def test_a_payload_is_whole_words():
    with pytest.raises(ValueError, match="5 bytes must be a multiple of 4"):
        Request(opcode=2, payload=b"12345").encode()


def test_no_corrupted_answer_is_taken():
    seed = random.SystemRandom().randrange(1 << 32)
    source = random.Random(seed)
    good = Answer(opcode=3, sequence=4, status=StatusCode.OK, payload=bytes(range(64))).encode()
    for bit in range(8 * len(good)):
        number = int.from_bytes(good, "little") ^ 1 << bit
        with pytest.raises(ProtocolError):
            Answer.decode(number.to_bytes(len(good), "little"))
    for _ in range(1000):
        with pytest.raises(ProtocolError):
            Answer.decode(source.randbytes(source.randrange(40)))


@pytest.mark.parametrize(
    ("status", "words", "sentence"), [(99, 1, "status 99 is unknown"), (0, 2, "says 2 payload words but carries 1")]
)
def test_answers_that_make_no_sense(status, words, sentence):
    body = b"\xca\x03\0\0" + b"1234" + bytes((status, 0, words, 0))
    with pytest.raises(ProtocolError, match=sentence):
        Answer.decode(body + zlib.crc32(body).to_bytes(4, "little"))


def test_wrong_magic():
    with pytest.raises(ProtocolError, match="begins with 0xCE where 0xCA would be right"):
        Answer.decode(Request(opcode=1).encode())


def test_run_parameters():
    run = RunParameters(
        program=7, layers=3, iterations=1 << 31, input_words=5, output_words=6, ring_base=2048, config_hash=HASH
    )
    payload = run.encode()
    assert payload == bytes.fromhex("07000300 00000080 05000000 06000000 00080000 00000000 efcdab89 67452301")
    assert RunParameters.decode(payload) == run


@pytest.mark.parametrize(
    "wrong", [{"layers": 1 << 16}, {"program": -1}, {"iterations": 1 << 32}, {"ring_base": 1 << 24}]
)
def test_run_parameters_that_do_not_fit(wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))}=.* must be a whole number of"):
        RunParameters(**({"layers": 1, "config_hash": HASH} | wrong)).encode()


def test_status_report():
    report = StatusReport(
        state=State.RUNNING, error=StatusCode.WATCHDOG, total_cycles=(1 << 48) - 1, cause_cycles=(1, 2, 1 << 40)
    )
    assert StatusReport.decode(report.encode()) == report
    assert report.encode()[:4] == bytes((1, 13, 3, 0))
    for broken in (report.encode()[:-1], b"", b"\7" + report.encode()[1:]):
        with pytest.raises(ProtocolError, match="cannot be read"):
            StatusReport.decode(broken)


def test_every_status_has_a_sentence():
    assert len({code.sentence for code in StatusCode}) == len(StatusCode)
    assert StatusCode(StatusCode.CRC) is StatusCode.CRC


def test_identity():
    config = AcceleratorConfig(engine=SystolicConfig(rows=8, cols=4))
    fields = json.loads(identity(config))
    assert len(identity(config)) % 4 == 0
    assert AcceleratorConfig.from_json(fields["config"]) == config
    assert fields["hash"] == config.hash
    assert fields["memories"][1] == ["weights", 1, 32, 2048]
    assert fields["causes"] == list(config.causes)
