"""RUN, the streams, STATUS and RESET: every wait ends, and says how."""

import random

import numpy as np
import pytest

from celosia.hw.protocol import WAIT, Answer, Opcode, State, StatusCode, StatusReport

INPUTS, OUTPUTS, WEIGHTS = 3, 5, 1
INPUT_STREAM, RESULT_STREAM, WEIGHT_STREAM = 0x13, 0x15, 0x11


def exchange(link, requests):
    return [Answer.decode(answer) for answer in link.exchange(requests)]


def statuses(answers):
    return [answer.status for answer in answers]


def random_words(rng, *shape):
    return rng.integers(0, 1 << 32, shape, np.uint64).astype(np.uint32)


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("stall", [0, 0.5])
def test_streams_echo(link, packets, stall, layers):
    seed = random.SystemRandom().randrange(1 << 32)
    rng = np.random.default_rng(seed)
    for port in "io":
        link.sim.stall(port, stall, seed)
    iterations, words = 12, 5
    inputs = random_words(rng, iterations, words, 2)
    requests = [packets.run(layers=layers, iterations=iterations, input_words=words, output_words=words, ring_base=40)]
    requests += [packets.write(INPUT_STREAM, 0, inputs[0])]
    for number in range(iterations):
        requests += [packets.write(INPUT_STREAM, 0, block) for block in inputs[number + 1 : number + 2]]
        # Twice as often and half as much as it was written.
        requests += [packets.read(RESULT_STREAM, 0, 2, number), packets.read(RESULT_STREAM, 0, 3, number)]
    requests += [packets.command(Opcode.STATUS, WAIT)]
    answers = exchange(link, requests)
    assert set(statuses(answers)) == {StatusCode.OK}, f"seed={seed}"
    results = b"".join(answer.payload for answer in answers if answer.opcode == Opcode.READ)
    assert results == (~inputs).astype("<u4").tobytes(), f"seed={seed}"
    report = StatusReport.decode(answers[-1].payload)
    assert (report.state, report.error) == (State.IDLE, StatusCode.OK)
    assert report.cause_cycles[0] == iterations * words
    assert sum(report.cause_cycles) == report.total_cycles > 2 * iterations * words


@pytest.mark.parametrize("layers", [1, 2])
def test_weights_go_to_the_ring(link, packets, link_config, layers):
    words = random_words(np.random.default_rng(3), 15, 2)
    words[:, 1] &= (1 << link_config.memory("weights").width - 32) - 1
    start = packets.run(layers=layers, input_words=1, output_words=1, ring_base=30)
    requests = [start, packets.write(WEIGHT_STREAM, 0, words), packets.write(INPUT_STREAM, 0, words[:1])]
    requests += [packets.read(RESULT_STREAM, 0, 1), packets.read(WEIGHTS, 30, 10)]
    answers = exchange(link, requests)
    assert set(statuses(answers)) == {StatusCode.OK}
    expected = np.concatenate([words[10:], words[5:10]])
    assert answers[-1].payload == expected.astype("<u4").tobytes()


@pytest.mark.parametrize(
    ("parameters", "status"),
    [
        ({}, StatusCode.OK),
        ({"program": 63, "layers": 64, "input_words": 32, "output_words": 32, "ring_base": 40}, StatusCode.OK),
        ({"config_hash": "0123456789abcdef"}, StatusCode.CONFIG),
        ({"program": 64}, StatusCode.PARAMETER),
        ({"layers": 0}, StatusCode.PARAMETER),
        ({"layers": 65}, StatusCode.PARAMETER),
        ({"iterations": 0}, StatusCode.PARAMETER),
        ({"input_words": 33}, StatusCode.PARAMETER),
        ({"output_words": 33}, StatusCode.PARAMETER),
        ({"ring_base": 41}, StatusCode.PARAMETER),
    ],
)
def test_run_is_checked(link, packets, parameters, status):
    answers = exchange(link, [packets.run(**parameters), packets.command(Opcode.STATUS)])
    assert answers[0].status is status
    assert StatusReport.decode(answers[1].payload).error is status


@pytest.mark.parametrize("bit", [0, 31, 32, 63])
def test_each_half_of_the_hash_counts(link, packets, link_config, bit):
    number = int(link_config.hash, 16) ^ 1 << bit
    answers = exchange(link, [packets.run(config_hash=f"{number:016x}"), packets.command(Opcode.STATUS)])
    assert answers[0].status is StatusCode.CONFIG


def test_run_flags_are_reserved(link, packets):
    good = bytearray(packets.run()[12:-4])
    good[20] = 1
    answers = exchange(link, [packets.command(Opcode.RUN, payload=bytes(good))])
    assert answers[0].status is StatusCode.PARAMETER


def test_busy(link, packets):
    start = packets.run(input_words=1, output_words=1)
    word = np.ones((1, 2), np.uint32)
    finish = [packets.write(INPUT_STREAM, 0, word), packets.read(RESULT_STREAM, 0, 1)]
    refused = [packets.write(INPUTS, 0, word), packets.read(INPUTS, 0, 1), start]
    allowed = [packets.command(Opcode.STATUS), packets.command(Opcode.IDENTIFY)]
    answers = exchange(link, [start, *refused, *allowed, *finish, packets.read(INPUTS, 0, 1)])
    assert statuses(answers[1:4]) == [StatusCode.BUSY] * 3
    assert set(statuses(answers[4:])) | {answers[0].status} == {StatusCode.OK}
    report = StatusReport.decode(answers[4].payload)
    assert (report.state, report.error) == (State.RUNNING, StatusCode.BUSY)
    assert answers[-1].payload == bytes(8)


@pytest.mark.parametrize("kind", ["results", "inputs", "weights", "status"])
def test_watchdog_ends_every_wait(link, packets, kind):
    words = np.ones((20, 2), np.uint32)
    waiting = {
        "results": packets.read(RESULT_STREAM, 0, 20),
        "inputs": packets.write(INPUT_STREAM, 0, words),  # the echo holds 16
        "weights": packets.read(RESULT_STREAM, 0, 1),
        "status": packets.command(Opcode.STATUS, WAIT),
    }[kind]
    after = [packets.command(Opcode.STATUS), waiting, packets.command(Opcode.RESET), packets.command(Opcode.STATUS)]
    answers = exchange(link, [packets.run(program=1, input_words=32, output_words=32), waiting, *after])
    expected = StatusCode.OK if kind == "status" else StatusCode.WATCHDOG
    assert [answers[1].status, answers[3].status] == [expected, expected]
    reports = [StatusReport.decode(answers[at].payload) for at in (2, 5)]
    assert [report.error for report in reports] == [StatusCode.WATCHDOG, StatusCode.OK]
    assert [report.failure for report in reports] == [StatusCode.WATCHDOG, StatusCode.OK]
    assert reports[0].state is State.IDLE
    assert reports[0].total_cycles >= packets.watchdog
    assert answers[1].payload[2:] == b"" or kind == "status"


def test_results_are_cut_short_by_the_end_of_the_run(link, packets):
    word = np.array([[1, 2], [3, 4]], np.uint32)
    requests = [packets.run(input_words=2, output_words=2), packets.write(INPUT_STREAM, 0, word)]
    answers = exchange(link, [*requests, packets.read(RESULT_STREAM, 0, 3)])
    assert answers[2].status is StatusCode.IDLE
    assert answers[2].payload == (~word).astype("<u4").tobytes()


def test_inputs_beyond_the_run_are_refused(link, packets):
    words = np.ones((3, 2), np.uint32)
    requests = [packets.run(input_words=1, output_words=1), packets.write(INPUT_STREAM, 0, words[:1])]
    requests += [packets.read(RESULT_STREAM, 0, 1), packets.write(INPUT_STREAM, 0, words)]
    answers = exchange(link, requests)
    assert statuses(answers) == [StatusCode.OK] * 3 + [StatusCode.IDLE]


@pytest.mark.parametrize("kind", ["results", "inputs", "status"])
def test_reset_ends_a_wait_ahead_of_it(link, packets, kind):
    words = np.ones((20, 2), np.uint32)
    waiting = {
        "results": packets.read(RESULT_STREAM, 0, 1),
        "inputs": packets.write(INPUT_STREAM, 0, words),
        "status": packets.command(Opcode.STATUS, WAIT),
    }[kind]
    requests = [packets.run(program=1, input_words=32, output_words=32), waiting, packets.command(Opcode.RESET)]
    answers = exchange(link, [*requests, packets.command(Opcode.STATUS), packets.read(INPUTS, 0, 1)])
    expected = StatusCode.OK if kind == "status" else StatusCode.ABORTED
    assert statuses(answers) == [StatusCode.OK, expected] + [StatusCode.OK] * 3
    report = StatusReport.decode(answers[3].payload)
    assert (report.state, report.error) == (State.IDLE, StatusCode.OK)
    assert report.total_cycles < packets.watchdog


def test_only_a_good_reset_ends_a_wait(link, packets):
    start, waiting = packets.run(program=1), packets.read(RESULT_STREAM, 0, 1)
    wrong = [packets.command(Opcode.RESET, 1), packets.command(Opcode.RESET, payload=bytes(4))]
    for number, reset in enumerate(wrong):
        answers = exchange(link, [start, waiting, reset])
        refusal = (StatusCode.RESERVED, StatusCode.LENGTH)[number]
        assert statuses(answers) == [StatusCode.OK, StatusCode.WATCHDOG, refusal]


def test_the_watchdog_is_forgotten(link, packets):
    """By a reset and by the next run: streams then refuse because nothing runs."""
    expired = [packets.run(program=1), packets.read(RESULT_STREAM, 0, 1)]
    for forgets in (packets.command(Opcode.RESET), packets.run()):
        answers = exchange(link, [*expired, expired[1], forgets, packets.command(Opcode.STATUS, WAIT), expired[1]])
        expected = [StatusCode.OK, StatusCode.WATCHDOG, StatusCode.WATCHDOG, StatusCode.OK, StatusCode.OK]
        assert statuses(answers) == [*expected, StatusCode.IDLE]


@pytest.mark.parametrize("stall", [0, 0.5])
def test_a_run_may_end_at_any_moment_of_a_transfer(link, packets, stall):
    """The watchdog ends the run as inputs come in: what they left in the gather register must not show up anywhere."""
    words = random_words(np.random.default_rng(4), 20, 2)
    seen = set()
    link.sim.stall("i", stall, 7)
    for delay in range(packets.watchdog - 100, packets.watchdog - 20):
        start = packets.run(program=1, layers=3, input_words=32, output_words=32)
        assert statuses(exchange(link, [packets.command(Opcode.RESET), start])) == [StatusCode.OK] * 2
        link.sim.run(delay)
        transfer = packets.write(INPUT_STREAM, 0, words)
        after = [packets.read(0, 0, 8), packets.write(INPUTS, 3, words[:7]), packets.read(INPUTS, 3, 7)]
        answers = exchange(link, [transfer, *after, packets.read(0, 0, 8)])
        seen.add(answers[0].status)
        assert statuses(answers[1:]) == [StatusCode.OK] * 4, delay
        assert answers[3].payload == words[:7].astype("<u4").tobytes(), delay
        assert answers[1].payload == answers[4].payload == bytes(32), delay
    assert seen == {StatusCode.WATCHDOG}


def test_corrupt_weights_end_the_run(link, packets):
    """Whatever waits then says so, until the next run or reset; the word that was corrupt is gone."""
    words = np.ones((5, 2), np.uint32)
    start, weights = packets.run(layers=4, input_words=1, output_words=1), packets.write(WEIGHT_STREAM, 0, words)
    waits = [weights, packets.read(RESULT_STREAM, 0, 1), packets.write(INPUT_STREAM, 0, words[:1])]
    status = packets.command(Opcode.STATUS, WAIT)
    good = [packets.write(INPUT_STREAM, 0, words[:1]), packets.read(RESULT_STREAM, 0, 1)]
    again = [packets.run(input_words=1, output_words=1), *good, packets.read(RESULT_STREAM, 0, 1)]
    reset = packets.command(Opcode.RESET)
    answers = exchange(link, [start, *waits, status, *again, status, start, weights, status, reset, status])
    ok, corrupt = StatusCode.OK, StatusCode.CORRUPT
    expected = [ok, corrupt, corrupt, corrupt, ok, ok, ok, ok, StatusCode.IDLE, ok, ok, corrupt, ok, ok, ok]
    assert statuses(answers) == expected
    reports = [StatusReport.decode(answers[at].payload) for at in (4, 9, 12, 14)]
    assert [report.error for report in reports] == [corrupt, corrupt, corrupt, ok]  # the first since the last reset
    assert [report.failure for report in reports] == [corrupt, ok, corrupt, ok]  # of the last run
    assert {report.state for report in reports} == {State.IDLE}
    assert reports[0].total_cycles < packets.watchdog


def test_saturated_is_told(link, packets):
    found = []
    for layers in (5, 1, 5):
        requests = [packets.run(layers=layers, input_words=0, output_words=0), packets.command(Opcode.STATUS, WAIT)]
        found.append(StatusReport.decode(exchange(link, requests)[1].payload).saturated)
    assert found == [True, False, True]


def test_a_run_waits_until_the_core_is_ready(link, packets):
    """After a reset the core may have to clear its accumulators first."""
    word = np.ones((1, 2), np.uint32)
    run = [packets.run(input_words=1, output_words=1), packets.write(INPUT_STREAM, 0, word)]
    requests = [*run, packets.read(RESULT_STREAM, 0, 1), packets.command(Opcode.STATUS, WAIT)]
    for before in ([], [packets.run(program=1, input_words=1, output_words=1)]):
        answers = exchange(link, [*before, packets.command(Opcode.RESET), *requests])
        assert set(statuses(answers)) == {StatusCode.OK}
        assert answers[-2].payload == (~word).astype("<u4").tobytes()


def test_first_error_stays(link, packets):
    bad = [packets.command(200), packets.read(77, 0, 1)]
    answers = exchange(link, [*bad, packets.command(Opcode.STATUS)])
    assert StatusReport.decode(answers[2].payload).error is StatusCode.OPCODE


def cycles(link, requests):
    before = link.sim.cycle
    link.exchange(requests)
    return link.sim.cycle - before


def test_a_word_per_cycle(link, packets):
    words = np.zeros((32, 2), np.uint32)
    for request in (packets.write(INPUTS, 0, words), packets.read(INPUTS, 0, 32), packets.read(0, 0, 64)):
        short = cycles(link, [request] * 2)
        per_packet = (cycles(link, [request] * 12) - short) / 10
        assert 64 + 4 <= per_packet <= 64 + 16, per_packet


def any_request(source, packets):
    """Any command with any stream, in any order: most of them at the wrong time."""
    words = np.full((source.randrange(1, 24), 2), source.randrange(1 << 32), np.uint32)
    number = source.randrange(256)
    run = {"program": source.randrange(2), "iterations": source.randrange(4), "input_words": source.randrange(9)}
    kinds = [
        lambda: packets.run(**run, output_words=source.choice((run["input_words"], source.randrange(40)))),
        lambda: packets.write(INPUT_STREAM, 0, words, number),
        lambda: packets.read(RESULT_STREAM, 0, source.randrange(1, 24), number),
        lambda: packets.write(WEIGHT_STREAM, 0, words, number),
        lambda: packets.command(Opcode.STATUS, source.choice((0, WAIT))),
        lambda: packets.write(INPUTS, source.randrange(70), words, number),
        lambda: packets.read(INPUTS, source.randrange(70), source.randrange(1, 24), number),
        lambda: packets.command(Opcode.RESET),
        lambda: source.randbytes(source.randrange(30)),
    ]
    weights = [4, 5, 5, 2, 2, 1, 1, 1, 1]
    return source.choices(kinds, weights)[0]()


@pytest.mark.parametrize("stall", [0, 0.3])
def test_no_order_of_commands_hangs(link, packets, stall):
    seed = random.SystemRandom().randrange(1 << 32)
    source = random.Random(seed)
    for port in "io":
        link.sim.stall(port, stall, seed)
    requests = [any_request(source, packets) for _ in range(2000)]
    found = exchange(link, requests)
    for request, answer in zip(requests, found, strict=True):
        assert (answer.opcode, answer.sequence) == tuple(request.ljust(3, b"\0")[1:3]), f"seed={seed}"
    expected = {StatusCode(code) for code in range(15)} - {StatusCode.CONFIG, StatusCode.MAGIC}
    assert len(set(statuses(found)) & expected) >= 8, f"seed={seed} {set(statuses(found))}"
    answers = exchange(link, [packets.command(Opcode.RESET), packets.command(Opcode.STATUS)])
    report = StatusReport.decode(answers[1].payload)
    assert (report.state, report.error) == (State.IDLE, StatusCode.OK), f"seed={seed}"
    words = random_words(np.random.default_rng(seed), 20, 2)
    answers = exchange(link, [packets.write(INPUTS, 9, words), packets.read(INPUTS, 9, 20)])
    assert answers[1].payload == words.astype("<u4").tobytes(), f"seed={seed}"
