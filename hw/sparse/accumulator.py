"""Accumulators of one PE: banks of sums, and an adder that may add to the same sum in every cycle."""

from typing import Any

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from celosia.hw.memory import Scratchpad, address_width
from celosia.hw.pipeline import delay, select
from celosia.hw.timing import READ_LATENCY

PRODUCT_CYCLES = 3  # from a row to the product that is added to it
_BEHIND = PRODUCT_CYCLES + 1  # cycles in which a sum is on its way between its read and the cycle of its write


class Accumulators(wiring.Component):
    """Adds a product to the sum of any row in every cycle, rows repeating as they like.

    Row r is in bank r mod `banks`. A row comes in a cycle with `valid`, its product PRODUCT_CYCLES later; the sum is in
    memory 5 cycles after the row. Sums still on their way are forwarded: the last one into the adder, earlier ones in
    place of what was read. A sum that leaves the range stays at its end, and `saturated` strobes.

    While nothing is added, all banks may be read at `read_address`, data READ_LATENCY cycles later, and banks in
    `clear` are set to 0 at `clear_address`. No back-pressure.

    Parameters
    ----------
    width : int
        Bits of a sum, signed.
    product_width : int
        Bits of a product, signed.
    rows, banks : int
        Sums and banks, powers of two.
    """

    valid: Signal
    row: Signal
    product: Signal
    reading: Signal
    read_address: Signal
    sums: data.View
    clear: Signal
    clear_address: Signal
    saturated: Signal

    def __init__(self, *, width: int, product_width: int, rows: int, banks: int) -> None:
        self.width, self.rows, self.banks = width, rows, banks
        self.bank_rows = rows // banks
        address = address_width(self.bank_rows)
        super().__init__(
            {
                "valid": In(1),
                "row": In(address_width(rows)),
                "product": In(signed(product_width)),
                "reading": In(1),
                "read_address": In(address),
                "sums": Out(data.ArrayLayout(signed(width), banks)),
                "clear": In(banks),
                "clear_address": In(address),
                "saturated": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        bank_bits = (self.banks - 1).bit_length()
        rows, valids = [self.row], [self.valid]
        for age in range(1, _BEHIND + 1):
            rows.append(delay(m, rows[-1], 1, f"row_{age}"))
            valids.append(delay(m, valids[-1], 1, f"valid_{age}", reset=True))
        total = Signal(signed(self.width), reset_less=True)

        for bank in range(self.banks):
            sums = Scratchpad(width=self.width, depth=self.bank_rows)
            m.submodules[f"bank_{bank}"] = sums
            mine = rows[_BEHIND][:bank_bits] == bank if bank_bits else 1
            m.d.comb += [
                sums.reads[0].address.eq(Mux(self.reading, self.read_address, self.row >> bank_bits)),
                self.sums[bank].eq(sums.reads[0].data),
                sums.write.enable.eq((valids[_BEHIND] & mine) | self.clear[bank]),
                sums.write.address.eq(Mux(self.clear[bank], self.clear_address, rows[_BEHIND] >> bank_bits)),
                sums.write.data.eq(Mux(self.clear[bank], 0, total)),
            ]
        self._add(m, rows, valids, total)
        return m

    def _add(self, m: Module, rows: list[Any], valids: list[Any], total: Signal) -> None:
        """Add the product to the newest sum of its row."""
        same = []  # by age: the row came that many cycles before, too
        for age in range(1, _BEHIND + 1):
            same.append(delay(m, valids[age] & (rows[age] == rows[0]), READ_LATENCY, f"same_{age}"))
        read = select(rows[READ_LATENCY], (self.sums[bank] for bank in range(self.banks)))
        # In the cycle in which the row was read, `total` belongs to the row two before.
        newest: Any = read
        older = [total, delay(m, total, 1, "total_1"), delay(m, total, 2, "total_2")]
        for age in reversed(range(2, _BEHIND + 1)):
            newest = Mux(same[age - 1], older[age - 2], newest)
        operand = Signal(signed(self.width), reset_less=True)
        forward = delay(m, same[0], 1, "forward")
        m.d.sync += operand.eq(newest)

        exact = Signal(signed(max(self.width, len(self.product)) + 1))
        over = Signal()
        m.d.comb += [
            exact.eq(Mux(forward, total, operand) + self.product),
            over.eq(exact[self.width - 1 :] != exact[-1].replicate(len(exact) - self.width + 1)),
        ]
        highest = (1 << (self.width - 1)) - 1
        m.d.sync += [
            total.eq(Mux(over, Mux(exact[-1], ~highest, highest), exact)),
            self.saturated.eq(over & valids[PRODUCT_CYCLES]),
        ]
