"""Wishbone, cycle by cycle; cocotb's benches have another one's master."""

import pytest

from celosia.hw.bus_registers import MAGIC, find_register
from celosia.hw.link.wishbone import WishboneLink
from celosia.sim.rtl import build

IDENT, RECEIVE = find_register("IDENT").offset, find_register("RECEIVE").offset


@pytest.fixture
def bus(link_config):
    with build(WishboneLink(link_config), name="wishbone_link_test").start() as sim:
        sim.set("wb_sel", 15)
        yield sim


def ends(sim):
    return sim.get("wb_ack"), sim.get("wb_err")


def ask(sim, address, stb=1):
    for name, value in (("wb_cyc", 1), ("wb_stb", stb), ("wb_adr", address)):
        sim.set(name, value)


def test_one_end_per_transfer(bus):
    """A strobe that stays high asks again: every second cycle ends a transfer."""
    ask(bus, IDENT)
    for cycle in range(8):
        assert ends(bus) == (cycle % 2, 0)
        if cycle % 2:
            assert bus.get("wb_dat_r") == MAGIC
        bus.run(1)


def test_no_end_for_who_has_given_up(bus):
    ask(bus, IDENT)
    bus.run(1)
    assert ends(bus) == (1, 0)
    bus.set("wb_stb", 0)
    assert ends(bus) == (0, 0)
    bus.set("wb_stb", 1)
    bus.set("wb_cyc", 0)
    assert ends(bus) == (0, 0)
    bus.run(1)
    bus.set("wb_cyc", 1)
    assert ends(bus) == (0, 0)
    bus.run(1)
    assert ends(bus) == (1, 0)


@pytest.mark.parametrize("select", [0, 1, 7, 14])
def test_a_part_of_a_word_takes_nothing(bus, select):
    bus.send("answers", [[7, 1]])
    bus.run(5)
    ask(bus, RECEIVE)
    bus.set("wb_sel", select)
    bus.run(1)
    assert ends(bus) == (0, 1)
    bus.run(1)
    bus.set("wb_sel", 15)
    bus.run(1)
    assert ends(bus) == (1, 0)
    assert bus.get("wb_dat_r") == 7
    bus.run(2)
    assert ends(bus) == (0, 1), "the word has been taken"
