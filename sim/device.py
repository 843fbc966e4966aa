# amaranth: UnusedElaboratable=no
"""A simulated device: the accelerator's RTL behind the same transport a board offers."""

from collections.abc import Callable, Sequence

import numpy as np

from celosia.hw.config import AcceleratorConfig
from celosia.hw.protocol import (
    ANSWER_OVERHEAD,
    STREAM,
    Opcode,
    ProtocolError,
    Request,
    identity,
)
from celosia.sim.rtl import SimulationError, Simulator, StopReason, Words, simulate

FIRST_SLICE = 1 << 12  # cycles after which the answers are looked at, when fewer came than expected
LONGEST_SLICE = 1 << 20  # cycles, about a second
LAST, BAD = 1, 2  # bits of a beat's second word


def to_beats(packets: Sequence[bytes]) -> Words:
    """Return packets as beats of the link: uint32 (beats, 2), the word, then `last` and `bad`.

    A last word of fewer than four bytes is filled with zeros and marked bad, and so is the one word that stands for an
    empty packet: this is how a byte-serial link hands over what it could not complete.
    """
    lengths = np.array([max(1, -(-len(packet) // 4)) for packet in packets], dtype=np.int64)
    padded = b"".join(packet.ljust(4 * length, b"\0") for packet, length in zip(packets, lengths, strict=True))
    beats = np.zeros((len(padded) // 4, 2), dtype=np.uint32)
    beats[:, 0] = np.frombuffer(padded, dtype="<u4")
    torn = [len(packet) != 4 * length for packet, length in zip(packets, lengths, strict=True)]
    beats[np.cumsum(lengths) - 1, 1] = LAST | np.where(torn, BAD, 0)
    return beats


def from_beats(beats: Words) -> list[bytes]:
    """Return the whole packets in uint32 (beats, 2); beats after the last `last` are left out."""
    ends = np.flatnonzero(beats[:, 1] & LAST) + 1
    data = beats[:, 0].astype("<u4").tobytes()
    return [data[4 * start : 4 * end] for start, end in zip([0, *ends], ends, strict=False)]


class LinkSimulation:
    """Transport over a running simulator whose component has the link's streams `i` and `o`.

    Parameters
    ----------
    sim : Simulator
    config : AcceleratorConfig
        Of the component; foretells how long answers are.
    patience : int
        Cycles without any new answer word after which the device counts as dead.
    """

    def __init__(self, sim: Simulator, config: AcceleratorConfig, *, patience: int = 10**10) -> None:
        self.sim, self.config, self.patience = sim, config, patience
        self._lanes = {memory.id: memory.link_words for memory in config.memories}

    def exchange(self, packets: Sequence[bytes]) -> list[bytes]:
        """Send packets back to back and return their answers, in order.

        Bytes that are no packet may be sent too: each string is one packet on the link, see `to_beats`.

        Raises
        ------
        SimulationError
            An answer did not come within `patience` cycles, or is of another length than it has to be.
        """
        if not packets:
            return []
        self.sim.send("i", to_beats(packets))
        beats = self._collect(len(packets), sum(self._answer_words(packet) for packet in packets))
        answers = from_beats(beats)
        if len(answers) != len(packets) or not beats[-1, 1] & LAST:
            raise SimulationError(f"the device gave {len(answers)} answers to {len(packets)} packets")
        return answers

    def _collect(self, answers: int, words: int) -> Words:
        """Run until all answers are there: that many words if all is well, fewer if packets are refused."""
        pieces: list[Words] = []
        slice_cycles, waited = FIRST_SLICE, 0
        while answers > 0:
            self.sim.expect("o", words)
            reason = self.sim.run(slice_cycles, until="received")
            piece = self.sim.receive("o")
            pieces.append(piece)
            answers -= int(np.count_nonzero(piece[:, 1] & LAST))
            words -= len(piece)
            waited = 0 if len(piece) else waited + slice_cycles
            if waited >= self.patience or (reason is not StopReason.LIMIT and answers > 0):
                raise SimulationError(f"the device left {answers} packets without an answer")
            slice_cycles = min(2 * slice_cycles, LONGEST_SLICE)
        return np.concatenate(pieces)

    def _answer_words(self, packet: bytes) -> int:
        """Words of the answer to a packet if the device does what it asks for."""
        try:
            request = Request.decode(packet)
        except ProtocolError:
            return ANSWER_OVERHEAD
        match request.opcode:
            case Opcode.READ:
                return ANSWER_OVERHEAD + request.count * self._lanes.get(request.target & ~STREAM, 0)
            case Opcode.IDENTIFY:
                return ANSWER_OVERHEAD + len(identity(self.config)) // 4
            case Opcode.STATUS:
                return ANSWER_OVERHEAD + 3 + 2 * len(self.config.causes)
            case _:
                return ANSWER_OVERHEAD

    def close(self) -> None:
        """End the simulation."""
        self.sim.close()


class SimulatedDevice(LinkSimulation):
    """An accelerator in the simulator: a transport for `celosia.host.device.Device`.

    Parameters
    ----------
    config : AcceleratorConfig
    backend : {"auto", "verilator", "amaranth"}
        See `celosia.sim.rtl.simulate`.
    waves : {"", "vcd", "fst"}
        Waveform writer to compile in, for `trace`.
    progress : callable, optional
        Told about each stage of a build that is not in the cache.
    """

    def __init__(
        self,
        config: AcceleratorConfig,
        *,
        backend: str = "auto",
        waves: str = "",
        progress: Callable[[str], None] | None = None,
    ) -> None:
        from celosia.hw.top import Accelerator  # Amaranth takes a while to import

        accelerator = Accelerator(config)
        sim = simulate(
            accelerator, name="accelerator", identity=config.hash, backend=backend, waves=waves, progress=progress
        )
        super().__init__(sim, config)

    @property
    def cycle(self) -> int:
        """Clock cycles simulated so far."""
        return self.sim.cycle

    def trace(self, path: str, start: int = 0, stop: int | None = None) -> None:
        """Write a waveform of the cycles from `start` up to but not including `stop`; needs `waves`."""
        self.sim.trace(path, start, stop)
