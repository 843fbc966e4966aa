"""Bench of the accelerator on AXI4-Stream: cocotbext-axi's source and sink, which nobody here wrote."""

import itertools
import random

import cocotb
from bench_packets import configure, conversation
from bench_tools import settings
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, FallingEdge, RisingEdge
from cocotbext.axi import AxiStreamBus, AxiStreamFrame, AxiStreamSink, AxiStreamSource

from celosia.hw.protocol import Answer, Opcode, Request, StatusCode


async def begin(dut, source_pauses: bool, sink_pauses: bool) -> tuple[AxiStreamSource, AxiStreamSink, random.Random]:
    """Reset, with or without idle cycles of the source and back-pressure of the sink."""
    rng = random.Random(cocotb.RANDOM_SEED)
    Clock(dut.aclk, 10, "ns").start()
    source = AxiStreamSource(AxiStreamBus.from_prefix(dut, "s_axis"), dut.aclk, dut.aresetn, reset_active_level=False)
    sink = AxiStreamSink(AxiStreamBus.from_prefix(dut, "m_axis"), dut.aclk, dut.aresetn, reset_active_level=False)
    share = rng.choice((0.2, 0.5))
    if source_pauses:
        source.set_pause_generator(rng.random() < share for _ in itertools.count())
    if sink_pauses:
        sink.set_pause_generator(rng.random() < share for _ in itertools.count())
    dut.aresetn.value = 0
    await ClockCycles(dut.aclk, 3)
    dut.aresetn.value = 1
    await ClockCycles(dut.aclk, 2)
    cocotb.start_soon(watch(dut))
    return source, sink, rng


async def watch(dut) -> None:
    """Check that what is offered stays until it is taken."""
    held = None
    while True:
        await FallingEdge(dut.aclk)
        valid = bool(dut.m_axis_tvalid.value)
        offer = (int(dut.m_axis_tdata.value), int(dut.m_axis_tlast.value)) if valid else None
        assert held is None or offer == held, f"{held} was offered and not taken, now {offer}"
        assert not valid or int(dut.m_axis_tkeep.value) == 0xF
        held = offer if valid and not dut.m_axis_tready.value else None
        await RisingEdge(dut.aclk)


@cocotb.test(timeout_time=5, timeout_unit="ms")
@cocotb.parametrize(source_pauses=(False, True), sink_pauses=(False, True))
async def answers(dut, source_pauses, sink_pauses):
    source, sink, rng = await begin(dut, source_pauses, sink_pauses)
    for request, answer in conversation(rng, configure(), settings()["requests"]):
        source.send_nowait(AxiStreamFrame(request))
        assert bytes(await sink.recv()) == answer, f"seed {cocotb.RANDOM_SEED}: {request.hex()}"
    await ClockCycles(dut.aclk, 100)
    assert sink.empty()


@cocotb.test(timeout_time=5, timeout_unit="ms")
@cocotb.parametrize(source_pauses=(False, True), sink_pauses=(False, True))
async def answers_requests_that_wait(dut, source_pauses, sink_pauses):
    """All requests at once: the link holds the source back."""
    source, sink, rng = await begin(dut, source_pauses, sink_pauses)
    pairs = conversation(rng, configure(), settings()["requests"])
    for request, _ in pairs:
        source.send_nowait(AxiStreamFrame(request))
    for request, answer in pairs:
        assert bytes(await sink.recv()) == answer, f"seed {cocotb.RANDOM_SEED}: {request.hex()}"
    await ClockCycles(dut.aclk, 100)
    assert sink.empty()
    assert source.idle()


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def answers_words_with_bytes_missing(dut):
    source, sink, _ = await begin(dut, False, True)
    status = Request(opcode=Opcode.STATUS, sequence=9).encode()
    for cut in (1, 2, 3):
        source.send_nowait(AxiStreamFrame(status[:-cut]))
        source.send_nowait(AxiStreamFrame(status))
        torn, good = Answer.decode(bytes(await sink.recv())), Answer.decode(bytes(await sink.recv()))
        assert (torn.status, torn.opcode, torn.sequence) == (StatusCode.FRAMING, Opcode.STATUS, 9)
        assert good.status is StatusCode.OK
    await ClockCycles(dut.aclk, 100)
    assert sink.empty()
