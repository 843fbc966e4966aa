"""The rules of FramedTransport, one by one, over a line that loses chosen packets."""

import numpy as np
import pytest

from celosia.host.device import Device
from celosia.host.errors import DeviceError, LinkError, RestartError, StreamError
from celosia.host.transports.framed import FramedTransport
from celosia.hw.protocol import (
    OUTSTANDING,
    WAIT,
    Answer,
    Opcode,
    ProtocolError,
    Request,
    RunParameters,
    State,
    StatusCode,
    StatusReport,
)


def packet(opcode, target=0, address=0, count=0, payload=b""):
    return Request(opcode=opcode, target=target, address=address, count=count, payload=payload).encode()


def write(address, words, target=1):
    return packet(Opcode.WRITE, target, address, len(words), np.array(words, "<u4").tobytes())


def read(address, count, target=1):
    return packet(Opcode.READ, target, address, count)


def words_in(answer):
    return np.frombuffer(Answer.decode(answer).payload, "<u4").tolist()


def run_packet(board):
    payload = RunParameters(layers=1, config_hash=board.config.hash).encode()
    return packet(Opcode.RUN, count=len(payload) // 4, payload=payload)


def streaming_run(program):
    payload = program.run_parameters(2, stream=True).encode()
    return packet(Opcode.RUN, count=len(payload) // 4, payload=payload)


def first(opcode, times=1):
    """Lose the first so many requests or answers with an opcode."""
    left = [times]

    def hook(message, frame):
        if message.opcode != opcode or not left[0]:
            return frame
        left[0] -= 1
        return b""

    return hook


@pytest.fixture
def line(opened):
    """A perfect line, opened."""
    it = opened()
    it.transport.exchange([packet(Opcode.STATUS)])
    it.line.sent.clear()
    it.line.most_unanswered = it.transport.retransmissions = 0
    return it


def test_a_repeated_read_does_not_see_a_later_write(line):
    line.board.memories[1][:2, 0] = 7, 8
    line.line.on_answer = first(Opcode.READ)
    answers = line.transport.exchange([read(0, 2), write(0, [1, 2]), read(0, 2)])
    assert [words_in(answer) for answer in answers] == [[7, 8], [], [1, 2]]


def test_the_last_of_two_writes_stays(line):
    delays = [0, 0, 0.6]  # of the first answer: it comes when both packets have been sent again
    line.line.delay = lambda: delays.pop(0) if delays else 0
    count = 0

    def lose_last(request, frame):
        nonlocal count
        count += request.opcode == Opcode.WRITE
        return b"" if request.opcode == Opcode.WRITE and count == 4 else frame

    line.line.on_request = lose_last
    line.transport.exchange([write(0, [1, 1]), write(0, [2])])
    assert words_in(line.transport.exchange([read(0, 2)])[0]) == [2, 1]


def test_a_missing_answer_is_noticed_by_the_next_one(line):
    line.board.memories[1][:, 0] = range(512)
    line.line.on_answer = first(Opcode.READ)
    begin = line.line.now
    answers = line.transport.exchange([read(3, 1), read(4, 1), read(5, 1)])
    assert [words_in(answer) for answer in answers] == [[3], [4], [5]]
    assert line.line.now - begin < line.transport.patience


def test_nothing_is_repeated_before_the_line_is_quiet(line):
    broken = [True]

    def tear(_, frame):
        return frame[:9] + frame[10:] if broken and broken.pop() else frame

    line.line.on_request = tear
    line.line.delay = lambda: 0.002
    line.transport.exchange([read(3, 1), read(4, 1)])
    assert line.transport.retransmissions == 2


def test_as_many_are_unanswered_as_the_device_buffers(line):
    line.line.delay = lambda: 0.01
    line.transport.exchange([read(0, 60)] * 5)
    assert line.line.most_unanswered == OUTSTANDING
    assert [request.opcode for request in line.line.sent] == [Opcode.READ] * 5 + [Opcode.STATUS]


def test_an_answer_to_something_else_with_the_same_number(line):
    line.board.memories[1][:, 0] = 9

    def precede(answer, frame):
        old = Answer(opcode=Opcode.WRITE, sequence=answer.sequence, status=StatusCode.OK, payload=b"oops")
        body = old.encode()
        return b"~" + body + b"~" + frame if answer.opcode == Opcode.READ and b"~" not in body else frame

    line.line.on_answer = precede
    assert words_in(line.transport.exchange([read(0, 1)])[0]) == [9]


def test_answers_have_the_callers_numbers(line):
    packets = [Request(opcode=Opcode.STATUS, sequence=number).encode() for number in (5, 5, 200, 0)]
    answers = line.transport.exchange(packets)
    assert [Answer.decode(answer).sequence for answer in answers] == [5, 5, 200, 0]


def test_waiting_is_asking_again(line):
    line.board.longest_run = 20.0
    begin = line.line.now
    line.line.on_answer = first(Opcode.RUN)
    answers = line.transport.exchange([run_packet(line.board), packet(Opcode.STATUS, WAIT), read(0, 1)])
    assert Answer.decode(answers[0]).status is StatusCode.OK  # though its second copy was refused
    assert StatusReport.decode(Answer.decode(answers[1]).payload).state is State.IDLE
    assert line.line.now - begin > 1
    polls = [request for request in line.line.sent if request.opcode == Opcode.STATUS]
    assert 5 < len(polls) < 30 * (line.line.now - begin)
    assert not any(request.target for request in polls)
    assert line.board.run_count == 1


def test_run_is_refused_if_another_one_is_in_progress(line):
    line.board.longest_run = 1e9
    taken, refused = line.transport.exchange([run_packet(line.board)] * 2)
    assert Answer.decode(taken).status is StatusCode.OK
    assert Answer.decode(refused).status is StatusCode.BUSY
    line.line.on_request = first(Opcode.RUN)
    refused = line.transport.exchange([run_packet(line.board)])[0]
    assert Answer.decode(refused).status is StatusCode.BUSY
    assert line.board.run_count == 1


def test_losses_of_different_packets_do_not_add_up(line):
    lost = set()

    def lose_once(request, frame):
        if request.address in lost:
            return frame
        lost.add(request.address)
        return b""

    line.line.on_request = lose_once
    line.transport.exchange([write(address, [1]) for address in range(100)])
    assert line.board.memories[1][:100].all()


def test_nobody_answers(opened):
    it = opened()
    it.line.on_request = lambda *_: b""
    with pytest.raises(LinkError, match=r"^RESET was sent 11 times over line, .* no answer came; is it a"):
        it.device.identify()
    assert it.line.now < 10


def test_the_device_stops_answering(line):
    line.line.on_request = lambda request, frame: frame[:6] + b"~" if request.opcode == Opcode.READ else frame
    with pytest.raises(LinkError, match=r"^READ was sent 33 times over line, .* the device said that the link"):
        line.transport.exchange([write(0, [1]), read(0, 1)])


def test_restart_in_the_middle_of_an_exchange(line):
    def restart(request, frame):
        if request.address == 5:
            line.board.restart()
        return frame

    line.line.on_request = restart
    line.transport.exchange([write(address, [1]) for address in range(9)])  # nobody has read anything yet
    with pytest.raises(RestartError, match="the device at line has restarted; load the network again"):
        line.transport.exchange([read(0, 1)])
    line.line.on_request = lambda request, frame: b"" if request.address == 5 and restart(request, b"") else frame
    assert words_in(line.transport.exchange([read(0, 1)])[0]) == [0]
    lose = first(Opcode.WRITE)
    line.line.on_request = lambda request, frame: lose(request, restart(request, frame))
    with pytest.raises(RestartError):  # in doubt, the transport asks
        line.transport.exchange([write(address, [1]) for address in range(9)])


def test_restart_before_reset(line, kit):
    line.device.load(kit.program())
    line.board.restart()
    with pytest.raises(RestartError):
        line.device.reset()
    with pytest.raises(DeviceError, match="no program is loaded"):
        line.device.run_resident(np.zeros((40, 2), np.uint32))


def test_restart_behind_reset(line, kit):
    program = kit.program()
    line.device.load(program)

    def restart(request, frame):
        if request.opcode == Opcode.RESET:
            line.board.restart()
        return frame

    line.line.on_request = restart
    line.device.reset()
    with pytest.raises(RestartError, match="does not hold the network any more"):
        line.device.run_resident(np.zeros((40, 2), np.uint32))


def test_restart_in_a_stream(line, kit):
    line.device.load(kit.program())

    def restart(request, frame):
        if request.opcode == Opcode.READ:
            line.board.restart()
        return frame

    line.line.on_request = restart
    with pytest.raises(RestartError):
        line.device.run_stream(np.zeros((400, 2), np.uint32))


def test_restart_behind_a_lost_stream(line, kit):
    line.device.load(kit.program())

    def restart(request, frame):
        if request.opcode == Opcode.RESET:
            line.board.restart()
        return frame

    line.line.on_request, line.line.on_answer = restart, first(Opcode.WRITE)
    with pytest.raises(RestartError, match="does not hold the network any more"):
        line.device.run_stream(np.zeros((80, 2), np.uint32))


def test_opening_after_a_host_was_killed(opened, kit):
    it = opened()
    program = kit.program()
    it.device.load(program)
    # Both of the device's slots wait for streams that nobody will send, a third packet is torn.
    it.transport.exchange([streaming_run(program)])
    for frame in (packet(Opcode.READ, 0x15, 0, 10), packet(Opcode.READ, 0x15, 0, 10)):
        it.line.write(kit.framed(frame))
    it.line.kill_after = 30
    with pytest.raises(kit.KilledError):
        it.line.write(kit.framed(write(0, range(50))))
    second = Device(FramedTransport(it.line))
    assert np.array_equal(second.read("program", 0, 100), program.image["program"])
    assert it.line.now < kit.WATCHDOG + 3


def test_opening_drops_what_arrives(opened, kit):
    it = opened()
    old = Answer(opcode=9, sequence=9, status=StatusCode.CRC).encode()
    it.line.answers.extend((0.001 * number, kit.framed(old)) for number in range(50))
    it.transport.exchange([packet(Opcode.STATUS)])
    assert it.transport.retransmissions == 0
    assert it.transport.bytes_received > 50 * len(old)


def test_numbers_of_opening_are_far_apart(opened):
    it = opened()
    for _ in range(20):
        it.transport.exchange([packet(Opcode.STATUS)] * 3)
        with pytest.raises(RestartError):
            it.board.restart() or it.transport.exchange([packet(Opcode.STATUS)])
    numbers = np.array([request.sequence for request in it.line.sent])
    openings = [index for index, request in enumerate(it.line.sent) if request.opcode == Opcode.RESET]
    assert len(openings) == 20
    for index in openings[1:]:
        steps = np.diff(numbers[index - 1 : index + 3]) % 256
        assert ((steps > 64) & (steps <= 192)).all()


def test_streams_are_not_repeated(line, kit):
    program = kit.program()
    line.transport.exchange([streaming_run(program)])
    line.line.on_answer = first(Opcode.WRITE)
    line.line.sent.clear()
    with pytest.raises(StreamError, match=r"^WRITE on a stream of the run failed over line: an answer is missing\.$"):
        line.transport.exchange([write(0, [1, 2], 0x13), write(0, [3, 4], 0x13)])
    assert len(line.line.sent) == 2


def test_progress(opened):
    told = []
    it = opened(progress=lambda *pair: told.append(pair))
    packets = [write(0, range(50))] * 40
    it.transport.exchange(packets)
    size = sum(len(packet) for packet in packets)
    assert told[-1] == (size, size)
    assert told == sorted(told)


def test_wrong_use(opened):
    it = opened()
    assert it.transport.exchange([]) == []
    with pytest.raises(ProtocolError, match="12 bytes that begin with"):
        it.transport.exchange([b"no request.."])
    it.device.close()
    assert it.line.closed
    assert not it.line.written


def test_patience_grows_with_a_slow_device(line):
    line.line.delay = lambda: 0.7
    for _ in range(10):
        line.transport.exchange([write(address, [1]) for address in range(10)])
    assert 0 < line.transport.retransmissions < 20
