"""FramedTransport over a line that damages bytes: what it accepts is right."""

import random

import numpy as np
import pytest

from celosia.host.device import Device
from celosia.host.errors import DeviceError, LinkError, RestartError
from celosia.host.transports.framed import FramedTransport
from celosia.hw.protocol import State


def random_words(rng, count, lanes):
    return rng.integers(0, 1 << 32, (count, lanes), dtype=np.uint32)


@pytest.mark.parametrize("rate", [0, 1e-5, 1e-4, 1e-3])
def test_a_million_bytes(opened, rate):
    it = opened(rate=rate, seed=7)
    rng = np.random.default_rng(11)
    moved = 0
    while moved < 1_000_000:
        written = {}
        for spec in it.board.config.memories:
            written[spec.name] = random_words(rng, spec.depth, spec.link_words)
            it.device.write(spec.name, written[spec.name])
        for spec in it.board.config.memories:
            assert np.array_equal(it.board.memories[spec.id], written[spec.name])
            assert np.array_equal(it.device.read(spec.name), written[spec.name])
            moved += 2 * written[spec.name].nbytes
    assert (it.transport.retransmissions > 0) == (rate > 0)
    assert it.transport.bytes_sent == len(it.line.written) > moved / 2


@pytest.mark.parametrize("rate", [1e-4, 1e-3])
def test_runs(opened, kit, rate):
    it = opened(rate=rate, seed=3)
    it.board.longest_run = 0.1
    program = kit.program()
    rng = np.random.default_rng(5)
    it.device.load(program)
    for _ in range(100):
        inputs = random_words(rng, program.input_words, 2)
        results, status = it.device.run_resident(inputs)
        assert np.array_equal(results, kit.expected(program, inputs))
        assert status.state is State.IDLE
    assert it.transport.retransmissions > 0


def test_streams_start_again(opened, kit):
    it = opened(rate=1e-4, seed=2, run_patience=3)
    program = kit.program(weight_words=70, load=300)
    it.device.load(program)
    rng = np.random.default_rng(5)
    for _ in range(20):
        inputs = random_words(rng, 3 * program.input_words, 2)
        assert np.array_equal(it.device.run_stream(inputs)[0], kit.expected(program, inputs))
    assert it.board.run_count > 21  # one of load


def test_streams_do_not_start_again_for_ever(opened, kit):
    it = opened(seed=2)
    program = kit.program()
    it.device.load(program)
    it.line.rate = 2e-3
    with pytest.raises(LinkError, match=r"the run was started 8 times; the last time, (READ|WRITE) on a stream"):
        it.device.run_stream(np.zeros((40 * program.input_words, 2), np.uint32))


def scenario(kit, seed):
    """Do random things over a bad line to a device that restarts; return how many ended well, and the line.

    Whatever does not raise must give what the device would have given over a perfect line, without restarts.
    """
    rng = np.random.default_rng(seed)
    random.seed(seed)  # the transport's numbers
    board = kit.Board(seed=seed)
    board.longest_run = float(rng.choice([0.0, 0.01, 0.3]))
    slow = float(rng.choice([0.0, 0.02, 0.2]))

    def delay():
        return 0.0 if rng.random() < 0.8 else slow * rng.exponential()

    line = kit.Line(board, rate=float(rng.choice([0, 1e-4, 1e-3, 3e-3])), seed=seed, delay=delay)
    restarts = float(rng.choice([0, 0, 0.001, 0.01]))
    kills = float(rng.choice([0, 0, 0.2]))
    names = [spec.name for spec in board.config.memories]
    held = dict.fromkeys(names)  # what a memory must hold, or None
    loaded, good = None, 0
    device = Device(FramedTransport(line, patience=0.1, run_patience=2.0))
    for _ in range(25):
        line.restarts = restarts
        if rng.random() < kills:
            line.kill_after = int(rng.integers(1, 3000))
        reason = None
        action = rng.choice(["write", "read", "load", "run", "run", "run", "stream", "status", "reset"])
        try:
            if action == "write":
                spec = board.config.memory(rng.choice(names[1:]))
                words = random_words(rng, spec.depth, spec.link_words)
                if spec.name == "weights":
                    loaded = None
                held[spec.name] = None
                device.write(spec.name, words)
                held[spec.name] = words
            elif action == "read":
                name = rng.choice(names)
                found = device.read(name)
                if held[name] is not None:
                    assert np.array_equal(found[: len(held[name])], held[name]), "read"
            elif action == "load":
                held["program"] = held["weights"] = loaded = None
                program = kit.program(int(rng.integers(1000)), weight_words=int(rng.choice([0, 20])))
                device.load(program)
                loaded = program
                held |= program.image
            elif action in ("run", "stream") and loaded is not None:
                held["inputs"] = held["outputs"] = None
                count = loaded.input_words * (1 if action == "run" else int(rng.integers(1, 4)))
                inputs = random_words(rng, count, 2)
                results, _ = (device.run_resident if action == "run" else device.run_stream)(inputs)
                assert np.array_equal(results, kit.expected(loaded, inputs)), "run"
                if action == "run":
                    held |= {"inputs": inputs, "outputs": results}
            elif action == "status":
                assert not device.status(wait=bool(rng.integers(2))).fresh
            elif action == "reset":
                device.reset()
                held = dict.fromkeys(names)  # a restart may have been forgotten
            good += 1
        except kit.KilledError:
            device = Device(FramedTransport(line, patience=0.1, run_patience=2.0))
            held, loaded = dict.fromkeys(names), None
        except DeviceError as error:
            held = dict.fromkeys(names)
            reason = error
        if isinstance(reason, RestartError) or (reason and not isinstance(reason, LinkError)):
            known = "no program" in str(reason) or ("watchdog" in str(reason) and slow > 0.1)
            assert line.restarted or known, f"{reason} without a reason"
        line.kill_after = None
    return good, line


@pytest.mark.parametrize("block", [*range(6), *(pytest.param(block, marks=pytest.mark.slow) for block in range(6, 40))])
def test_nothing_wrong_is_accepted(kit, block):
    good = restarted = 0
    for seed in range(30 * block, 30 * block + 30):
        try:
            done, line = scenario(kit, seed)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
        good, restarted = good + done, restarted + line.restarted
    assert good > 30 * 25 * 0.6
    assert restarted
