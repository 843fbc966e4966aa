"""Packets over a link that may lose, add and change bytes: every answer that is accepted is right.

The link keeps order, the device executes and answers in order, and checksums tell whole packets from broken ones (all
but one in 2^32). So everything rests on one fact: **what arrives whole is executed in the order it was sent**, and a
packet that is sent after another one sees everything that any copy of that one did.

*Acceptance.* Packets are numbered. At most `OUTSTANDING` are unanswered, and an answer is accepted only if it has the
number and the opcode of the oldest one. A later number means that the oldest one's answer is lost; any other is that of
a copy of a packet which has been answered, and is ignored. Numbers return after 256 packets, long after all copies of
the packets that had them are gone: an accepted answer is behind the answers to everything sent before its packet.

*Repetition.* When something is lost (no answer, a broken one, one out of order, or one that says that the device got a
broken packet), all unanswered packets are sent again, once the line is quiet. Copies may still be on their way when the
oldest packet is accepted, so what may be unanswered together is limited to packets a, b for which a b a is as good as
a b, and each of which may be executed any number of times:

* IDENTIFY, READ, STATUS change nothing. A WRITE writes the same words again. They may be behind WRITEs, and behind each
  other, except that a WRITE is never behind a READ, which would read too late when repeated, nor behind a WRITE to the
  same words, whose copy could come last.
* RUN and RESET are alone. A copy of a RUN comes before any packet behind it. If it finds the run in progress, it is
  refused and changes nothing; if it finds it ended, it does the same again from the same inputs, which no run changes;
  and a STATUS behind it speaks of the last copy. So RUN that was repeated and is answered BUSY has been taken, provided
  that no run was in progress when it was first sent: an earlier run would be refused for as well. A copy of RESET finds
  nothing to drop.
* STATUS that waits is asked again and again, with nothing behind it: once the device is idle it stays so, since RUN is
  sent only later. The lost answer of a device that waits would cost the longest timeout there is.
* A stream gives or takes words once. Packets of streams are sent only when RUN has been answered, and are never
  repeated: any loss raises `StreamError`, and the next exchange begins with RESET.

*Restarts.* Opening sends RESET, after which a device tells `fresh` in STATUS only if it has restarted. Every READ of a
memory is accepted only with a later STATUS that does not; see `celosia.host.transports.window.watched`. After an
exchange that failed, the link is opened anew: whoever loaded something has to see whether it is still there, as
`celosia.host.device.Device` does.
"""

import math
import random
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from celosia.host.errors import DeviceError, LinkError, RestartError, StreamError
from celosia.host.transports.framing import LONGEST_FRAME, FrameDecoder, encode_frame
from celosia.host.transports.port import BytePort
from celosia.host.transports.window import Pending, watched
from celosia.hw.protocol import (
    OUTSTANDING,
    Answer,
    Opcode,
    ProtocolError,
    Request,
    State,
    StatusCode,
    StatusReport,
)

RETRIES = 32  # failures of the same packet, one after the other
SILENCE_COST = 3  # failures that one without any answer counts for: it takes longest, and noise is no reason for many
PATIENCE = 0.5  # seconds
RUN_PATIENCE = 10.0  # seconds
QUIET = 0.02  # seconds without a byte: more than USB bridges hold bytes back
LONGEST_PAUSE = 0.05  # seconds between two questions whether a run has ended
PROGRESS_PAUSE = 0.05  # seconds between two calls of `progress`
OPENINGS = 3  # times a device may restart while it is opened

LINK_FAULTS = (StatusCode.FRAMING, StatusCode.LENGTH, StatusCode.CRC, StatusCode.MAGIC)
"""What a device says of a packet that is not what was sent."""


class _Silence:
    """No byte came in time."""


_SILENCE: Final = _Silence()


class FramedTransport:
    """Transport over a port that carries bytes.

    Parameters
    ----------
    port : BytePort
    retries : int
        Failures of the same packet, one after the other, after which the link counts as failed.
    patience : float
        Seconds to wait for an answer's next byte, beyond the time that bytes take. Where that proves too short, it
        grows, up to `run_patience`.
    run_patience : float
        The same for packets on the streams of a run, which wait for what the device computes.
    progress : callable, optional
        Told the bytes of requests answered and those of the exchange, some 20 times a second at most, and at its end.

    Attributes
    ----------
    retransmissions : int
        Packets that were sent again.
    bytes_sent, bytes_received : int
        Over the port.
    """

    def __init__(
        self,
        port: BytePort,
        *,
        retries: int = RETRIES,
        patience: float = PATIENCE,
        run_patience: float = RUN_PATIENCE,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self.port, self.retries, self.patience, self.run_patience = port, retries, patience, run_patience
        self.progress = progress
        self.retransmissions = self.bytes_sent = self.bytes_received = 0
        self._decoder = FrameDecoder()
        self._frames: deque[bytes | None] = deque()
        self._number = random.randrange(256)  # of the next packet
        self._patience = patience  # as experience has it
        self._opened = False
        self._answered = False  # ever
        self._idle = False  # it is known that no run is in progress

    def exchange(self, packets: Sequence[bytes]) -> list[bytes]:
        """Send packets back to back and return their answers, in order.

        Raises
        ------
        ProtocolError
            One of them is no request.
        LinkError
            The link failed: the sentence says how often what was tried, and what came of it the last time.
        StreamError
            A packet of a run's streams, or its answer, was lost.
        RestartError
            The device has restarted since it was opened.
        """
        pending = watched(packets)
        if not pending:
            return []
        if not self._opened:
            self._open()
        self._opened = False  # until the exchange has succeeded
        repeated = self.retransmissions
        self._transfer(pending, self.progress)
        if self.retransmissions != repeated and pending[-1].opcode != Opcode.STATUS:
            self._transfer([Pending.status()])
        self._opened = True
        return [request.answer for request in pending if not request.own]

    def close(self) -> None:
        """Close the port."""
        self.port.close()

    def _open(self) -> None:
        """Reset the device, whatever it and the link are in the middle of; the flag before a frame ends any other.

        What is on its way from before must not be taken for an answer. Of three packets in turn, with numbers by
        chance, which the last 64 did not have, old answers could only deceive all three with a chance of 2^-21.
        """
        self._discard()
        for attempt in range(OPENINGS):
            try:
                for opcode in (Opcode.RESET, Opcode.STATUS, Opcode.STATUS):
                    self._number = self._number + 64 + random.randrange(128) & 0xFF
                    self._transfer([Pending.of(Request(opcode=opcode).encode())])
                break
            except RestartError:
                if attempt == OPENINGS - 1:
                    raise
        self._opened = True

    def _transfer(self, pending: Sequence[Pending], progress: Callable[[int, int], None] | None = None) -> None:
        """Send requests until all of them have been answered."""
        done = sent = failures = 0
        acknowledged, told = 0, time.monotonic()
        total = sum(len(request.packet) for request in pending)
        pause = 0.0
        while done < len(pending):
            while sent < len(pending) and sent - done < OUTSTANDING and pending[sent].may_follow(pending[done:sent]):
                self._send(pending[sent])
                sent += 1
            window = pending[done:sent]
            frame = self._receive(self._timeout(window))
            found = self._judge(frame, window)
            if isinstance(found, str):
                failures += SILENCE_COST if isinstance(frame, _Silence) else 1
                self._give_up(window, failures, found)
                self._discard(window)
                sent = done
            elif found is not None:
                failures = 0
                if self._accept(window[0], found):
                    acknowledged += len(window[0].packet)
                    done += 1
                    if progress and (done == len(pending) or time.monotonic() - told > PROGRESS_PAUSE):
                        told = time.monotonic()
                        progress(acknowledged, total)
                else:
                    pause = self._pause(pause)
                    window[0].sendings = 0  # the next question is not the same again
                    sent = done

    def _send(self, request: Pending) -> None:
        if request.sendings == 0:
            request.number, request.was_idle = self._number, self._idle
            self._number = self._number + 1 & 0xFF
        else:
            self.retransmissions += 1
        request.sendings += 1
        frame = encode_frame(request.numbered())
        request.size = len(frame)
        self._write(frame)

    def _judge(self, frame: bytes | _Silence | None, window: Sequence[Pending]) -> Answer | str | None:
        """Return the oldest request's answer, or what went wrong, or None for what does not matter."""
        if isinstance(frame, _Silence):
            return "no answer came"
        if frame is None:
            return "a broken answer came"
        try:
            answer = Answer.decode(frame)
        except ProtocolError as error:
            return str(error).removesuffix(".")
        if answer.status in LINK_FAULTS:
            return f"the device said that {answer.status.sentence}"
        place = answer.sequence - window[0].number & 0xFF
        if 0 < place < len(window):
            return "an answer is missing"
        if place or answer.opcode != window[0].opcode:
            # To a copy that need not have been sent: the device, or the line, takes longer than was thought.
            self._patience = min(2 * self._patience, max(self.patience, self.run_patience))
            return None
        self._answered = True
        window[0].keep(frame)
        return answer

    def _accept(self, request: Pending, answer: Answer) -> bool:
        """Take an answer, and return whether it is the one that was asked for: not if a run should have ended first.

        Raises
        ------
        RestartError
            It says that the device has restarted.
        """
        taken = answer.status is StatusCode.OK
        if request.opcode == Opcode.RUN:
            if answer.status is StatusCode.BUSY and request.sendings > 1 and request.was_idle:
                taken = True  # by an earlier copy
                request.keep(Answer(opcode=Opcode.RUN, sequence=request.number, status=StatusCode.OK).encode())
            self._idle = self._idle and not taken
        elif request.opcode == Opcode.RESET and taken:
            self._idle = True
        elif request.opcode == Opcode.STATUS and taken:
            try:
                report = StatusReport.decode(answer.payload)
            except ProtocolError as error:
                raise DeviceError(str(error)) from None
            if report.fresh:
                raise RestartError(f"the device at {self.port.name} has restarted; load the network again.")
            self._idle = report.state is State.IDLE
            return self._idle or not request.waits
        return True

    def _give_up(self, window: Sequence[Pending], failures: int, symptom: str) -> None:
        """Raise an error if there is no use in trying again."""
        verb = Opcode(window[0].opcode).name if window[0].opcode in tuple(Opcode) else f"opcode {window[0].opcode}"
        if any(request.streams for request in window):
            raise StreamError(f"{verb} on a stream of the run failed over {self.port.name}: {symptom}.")
        if failures > self.retries:
            hint = "." if self._answered else "; is it a Celosia device, at this speed?"
            raise LinkError(
                f"{verb} was sent {window[0].sendings} times over {self.port.name}, and the last time {symptom}{hint}"
            )

    def _timeout(self, window: Sequence[Pending]) -> float:
        """Return the seconds until the first byte of an answer is overdue."""
        patience = self.run_patience if any(request.streams for request in window) else self._patience
        rate = self.port.byte_rate
        return patience + (sum(request.size for request in window) / rate if rate else 0.0)

    def _pause(self, last: float) -> float:
        """Wait before asking again whether a run has ended, and return how long that was; nothing is on its way."""
        if last:
            self._take(self.port.read(last))
        return min(max(2 * last, LONGEST_PAUSE / 64), LONGEST_PAUSE)

    def _receive(self, timeout: float) -> bytes | _Silence | None:
        """Return the next frame, None for a broken one.

        A device that has answered before may take `timeout` for each piece of a frame; what has never answered may be
        no device, and talk on and on.
        """
        latest = math.inf if self._answered else time.monotonic() + timeout
        while not self._frames:
            data = self.port.read(timeout)
            if not data or time.monotonic() > latest:
                return _SILENCE
            self._take(data)
        return self._frames.popleft()

    def _take(self, data: bytes) -> None:
        self.bytes_received += len(data)
        self._frames.extend(self._decoder.feed(data))

    def _discard(self, window: Sequence[Pending] = ()) -> None:
        """Drop what arrives until the line is quiet; after more than any answers can be, it is only noise.

        Quiet is a line on which nothing comes although all of `window` has had the time to arrive: what is sent while
        the device still receives that would be a third packet, and its answer taken for one to what is sent again.
        """
        rate = self.port.byte_rate
        quiet = QUIET + (sum(request.size for request in window) / rate if rate else 0.0)
        dropped = 0
        latest = math.inf if self._answered else time.monotonic() + self.patience + quiet
        while dropped < OUTSTANDING * LONGEST_FRAME and time.monotonic() < latest and (data := self.port.read(quiet)):
            dropped += len(data)
            self.bytes_received += len(data)
        self._frames.clear()
        self._decoder.reset()

    def _write(self, data: bytes) -> None:
        self.bytes_sent += len(data)
        self.port.write(data)
