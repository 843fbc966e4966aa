"""The stream component of simspeed.py under cocotb: one payload and one read per cycle, as a plain test bench does."""

import os
import time

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ReadOnly, RisingEdge


@cocotb.test()
async def stream(dut):
    cycles = int(os.environ["SIMSPEED_CYCLES"])
    Clock(dut.clk, 2, "ns").start()
    dut.rst.value = 0
    dut.i__valid.value = 1
    dut.o__ready.value = 1
    received = 0
    await RisingEdge(dut.clk)
    begin = time.perf_counter()
    for cycle in range(cycles):
        dut.i__payload.value = cycle & 0xFFFF
        await ReadOnly()
        received += int(dut.o__valid.value)
        await RisingEdge(dut.clk)
    with open(os.environ["SIMSPEED_RESULT"], "w") as file:
        file.write(f"{cycles / (time.perf_counter() - begin)} {received}")
