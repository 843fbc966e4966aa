"""Weight loader: writes a part of the weight stream to the weight memory, as it is or Huffman-decoded."""

from typing import Any

from amaranth.hdl import Cat, Module, Mux, ResetInserter, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from celosia.hw.config import AcceleratorConfig
from celosia.hw.memory import address_width, read_port, write_port
from celosia.hw.pipeline import delay
from celosia.hw.sparse.config import SparseConfig
from celosia.hw.sparse.decoder import HuffmanDecoder
from celosia.hw.sparse.table_loader import TableLoader
from celosia.hw.sparse.tables import WORDS_WIDTH, EncodedFormat


class WeightLoader(wiring.Component):
    """Takes `words` stream words and writes `rows` memory words from `address` on.

    `start`, only while `idle`, takes all numbers, in a cycle called 0 here. With `words` 0 nothing happens, and `idle`
    stays high. Else `idle` is low from cycle 1 on.

    * Raw: `rows` is `words`. From cycle 1 on a word is accepted in every cycle in which one is offered, and written in
      that cycle. `idle` is high from the cycle after the last one on.
    * Encoded, in the format of `celosia.hw.sparse.tables`: the tables are read first; the first word may be accepted in
      cycle `table_cycles`. A word is accepted when every decoder has taken its chunks of the one before, or takes the
      last of them in this cycle, at a rate of one chunk per cycle at most. Each decoder writes its PEs' entries one by
      one, up to one in two cycles. Words left over when all are done are taken and dropped. `idle` is high from the
      cycle on that is DONE_CYCLES after the last decoder took its last byte, and two after the last word was accepted.

    `corrupt` strobes if an encoded stream breaks its format or is not what its CRC says: `idle` is high from the next
    cycle on, the `rows` words hold anything, and words of the stream may be left. No other words are ever written, and
    a load never waits for anything but stream words.

    Parameters
    ----------
    config : AcceleratorConfig
        Of a sparse engine. Without decoders `encoded` is ignored, and `codebooks` is not used.

    Attributes
    ----------
    start, address, words, encoded, rows, tables : in
        A load; `tables` is the address of its tables in the codebook memory.
    i : stream, in
        Weight words. `ready` depends on no input.
    codebooks : read port
        Read in the `table_words` cycles after `start`.
    write : write port with a bank for each PE
        No back-pressure.
    idle, busy : Signal(1), out
        One is the opposite of the other.
    wants : Signal(1), out
        A word would be accepted, and none is offered.
    corrupt : Signal(1), out
        See above.
    progress : Signal(1), out
        Something advances: `busy` and not `wants`.
    """

    start: Signal
    address: Signal
    words: Signal
    encoded: Signal
    rows: Signal
    tables: Signal
    i: stream.Interface
    codebooks: Any
    write: Any
    idle: Signal
    busy: Signal
    wants: Signal
    corrupt: Signal
    progress: Signal

    def __init__(self, config: AcceleratorConfig) -> None:
        assert isinstance(config.engine, SparseConfig)
        self.config, self.engine = config, config.engine
        weights = config.memory("weights")
        codebooks = read_port(16, self.engine.codebook_depth)
        super().__init__(
            {
                "start": In(1),
                "address": In(address_width(weights.depth)),
                "words": In(WORDS_WIDTH),
                "encoded": In(1),
                "rows": In(weights.depth.bit_length()),
                "tables": In(codebooks.members["address"].shape),
                "i": In(stream.Signature(weights.width)),
                "codebooks": Out(codebooks),
                "write": Out(write_port(weights.width, weights.depth, banks=self.engine.pes)),
                "idle": Out(1),
                "busy": Out(1),
                "wants": Out(1),
                "corrupt": Out(1),
                "progress": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        left = Signal.like(self.words, reset_less=True)
        more = Signal()  # left is not 0
        accept = Signal()
        finish = Signal()
        m.d.comb += [
            accept.eq(self.i.valid & self.i.ready),
            self.idle.eq(~self.busy),
            self.wants.eq(self.i.ready & ~self.i.valid),
            self.progress.eq(self.busy & ~self.wants),
        ]
        with m.If(accept):
            m.d.sync += [left.eq(left - 1), more.eq(left != 1)]
        with m.If(finish | self.corrupt):
            m.d.sync += [self.busy.eq(0), more.eq(0)]
        with m.If(self.start):
            m.d.sync += [left.eq(self.words), more.eq(self.words != 0), self.busy.eq(self.words != 0)]
        if self.engine.decoders:
            self._decode(m, accept, more, left, finish)
        else:
            m.d.comb += [self.i.ready.eq(more), finish.eq(accept & (left == 1))]
            self._write_raw(m, accept)
        return m

    def _write_raw(self, m: Module, accept: Signal) -> None:
        address = Signal.like(self.address, name="next_address", reset_less=True)
        with m.If(self.start):
            m.d.sync += address.eq(self.address)
        with m.Elif(accept):
            m.d.sync += address.eq(address + 1)
        m.d.comb += [
            self.write.enable.eq(accept.replicate(self.engine.pes)),
            self.write.data.eq(self.i.payload),
            *(bank.eq(address) for bank in self._bank_addresses),
        ]

    @property
    def _bank_addresses(self) -> list[Any]:
        address = self.write.address
        return [address[bank] for bank in range(self.engine.pes)] if self.engine.pes > 1 else [address]

    def _decode(self, m: Module, accept: Signal, more: Signal, left: Signal, finish: Signal) -> None:
        """Give chunks of words to the decoders, or write the words as they are."""
        tables = EncodedFormat(self.engine)
        m.submodules.tables = reader = TableLoader(self.config)
        decoders = [HuffmanDecoder(tables, len(self.rows)) for _ in range(self.engine.decoders)]
        raw = Signal()
        decoding = Signal()  # what is being done
        rows = Signal.like(self.rows, name="rows_to_decode", reset_less=True)
        frees = Signal(len(decoders))  # has no chunk behind the one that it may take now
        # While tables are read there is time to reset decoders before they start.
        reset = delay(m, reader.start, 1, "reset", reset=True)
        begin = delay(m, reset, 1, "begin", reset=True)
        connect(m, reader.memory, flipped(self.codebooks))
        m.d.comb += [
            reader.start.eq(self.start & self.encoded & (self.words != 0)),
            reader.base.eq(self.tables),
            self.corrupt.eq(decoding & Cat(decoder.corrupt for decoder in decoders).any()),
            self.i.ready.eq(more & (raw | (decoding & frees.all()))),
            finish.eq(
                Mux(raw, accept & (left == 1), decoding & Cat(decoder.done for decoder in decoders).all() & ~more)
            ),
        ]
        with m.If(self.start):
            m.d.sync += [raw.eq(~self.encoded), rows.eq(self.rows)]
        with m.If(reader.done):
            m.d.sync += decoding.eq(1)
        with m.Elif(finish | self.corrupt):
            m.d.sync += decoding.eq(0)
        for index, decoder in enumerate(decoders):
            m.submodules[f"decoder_{index}"] = ResetInserter(reset)(decoder)
            m.d.comb += [
                decoder.start.eq(begin),
                decoder.rows.eq(rows),
                decoder.codes.eq(reader.codes),
                decoder.symbols.enable.eq(reader.symbols.enable),
                decoder.symbols.address.eq(reader.symbols.address),
                decoder.symbols.data.eq(reader.symbols.data),
            ]
            self._cut_chunks(m, index, decoder, accept & decoding, more, frees[index])
            self._write_part(m, index, decoder, accept & raw, decoding)

    def _cut_chunks(
        self, m: Module, index: int, decoder: HuffmanDecoder, accept: Value, more: Signal, free: Value
    ) -> None:
        """Hold a decoder's slice of a word until all chunks are taken."""
        tables = decoder.tables
        chunk, width = tables.chunk_width, tables.chunk_width * tables.slice_chunks
        held = Signal(width, name=f"slice_{index}", reset_less=True)
        chunks = Signal(range(tables.slice_chunks + 1), name=f"chunks_{index}")
        m.d.comb += [
            decoder.i.payload.eq(held[:chunk]),
            decoder.i.valid.eq(chunks != 0),
            decoder.last.eq(~more & (chunks == 0)),
            free.eq((chunks == 0) | ((chunks == 1) & decoder.i.ready)),
        ]
        with m.If(decoder.i.valid & decoder.i.ready):
            m.d.sync += [chunks.eq(chunks - 1), held.eq(held >> chunk)]
        with m.If(accept):
            m.d.sync += [chunks.eq(tables.slice_chunks), held.eq(self.i.payload[index * width : (index + 1) * width])]
        with m.If(self.start):
            m.d.sync += chunks.eq(0)

    def _write_part(self, m: Module, index: int, decoder: HuffmanDecoder, raw: Value, decoding: Signal) -> None:
        """Write a decoder's entries, or its part of a word."""
        pes, width = decoder.tables.slice_pes, self.engine.entry_width
        turn = Signal(pes, name=f"turn_{index}", init=1)  # the PE whose entry comes next, one bit each
        address = Signal.like(self.address, name=f"next_address_{index}", reset_less=True)
        valid = decoding & decoder.valid
        for pe in range(pes):
            bank = index * pes + pe
            m.d.comb += [
                self.write.enable[bank].eq(raw | (valid & turn[pe])),
                self.write.data.word_select(bank, width).eq(
                    Mux(decoding, decoder.entry, self.i.payload.word_select(bank, width))
                ),
                self._bank_addresses[bank].eq(address),
            ]
        with m.If(valid):
            m.d.sync += turn.eq(turn.rotate_left(1))
        with m.If(raw | (valid & turn[-1])):
            m.d.sync += address.eq(address + 1)
        with m.If(self.start):
            m.d.sync += [turn.eq(1), address.eq(self.address)]
