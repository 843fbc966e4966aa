"""Between the clock of a link and that of the accelerator."""

from typing import Any

from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.fifo import AsyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from celosia.hw.link.packets import BEAT, link_stream

CROSSING_BEATS = 17  # a register, and 16 words: more than a round trip through both clocks' synchronizers


class ClockCrossing(wiring.Component):
    """Carries beats from one clock domain to the other, in both directions.

    Latency: up to four cycles of the domain they come from and go to, each. Throughput: a beat per cycle of the slower
    domain. Back-pressure at any time.

    Parameters
    ----------
    link_domain : str
        Name of the link's clock domain; the accelerator's is `sync`.

    Attributes
    ----------
    i_requests, o_answers : stream of `BEAT`
        From and to the link, clocked by its domain.
    o_requests, i_answers : stream of `BEAT`
        To and from the accelerator, clocked by `sync`.
    """

    i_requests: stream.Interface
    o_requests: stream.Interface
    i_answers: stream.Interface
    o_answers: stream.Interface

    def __init__(self, link_domain: str) -> None:
        self.link_domain = link_domain
        super().__init__(
            {
                "i_requests": In(link_stream()),
                "o_requests": Out(link_stream()),
                "i_answers": In(link_stream()),
                "o_answers": Out(link_stream()),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        sides: dict[str, tuple[Any, str, Any, str]] = {
            "requests": (self.i_requests, self.link_domain, self.o_requests, "sync"),
            "answers": (self.i_answers, "sync", self.o_answers, self.link_domain),
        }
        for name, (source, w_domain, sink, r_domain) in sides.items():
            queue: Any = AsyncFIFOBuffered(width=BEAT.size, depth=CROSSING_BEATS, w_domain=w_domain, r_domain=r_domain)
            m.submodules[name] = queue
            wiring.connect(m, wiring.flipped(source), queue.w_stream)
            wiring.connect(m, queue.r_stream, wiring.flipped(sink))
        return m
