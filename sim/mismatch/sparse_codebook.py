"""Finds where a wrong weight comes from in the sparse engine: the codebook memory, its reader, or a PE's copy."""

from celosia.sim.mismatch.sparse_columns import Origin
from celosia.sim.mismatch.sparse_output import Output, Piece
from celosia.sim.mismatch.sparse_times import Times, find_times

WRITE = ("code_enable", "code_address", "code_weight")


def codebook_origin(piece: Piece, pe: int, code: int, cycle: int, times: Times) -> Origin:
    """Return where a weight was changed that a PE looked up in that cycle."""
    output = piece.output
    codebook, run = output.run.plan.arranged.layer.codebook, output.run
    if codebook is None:
        return Origin(place=f"weight of PE {pe}", cycle=cycle)
    mask = (1 << output.engine.weight_width) - 1
    wanted = int(codebook[code]) & mask
    address = piece.fields["codebook"] + code
    if int(run.replay.memory_before(times.beat, "codebooks", 1, address)[0, 0]) & mask != wanted:
        return Origin(place=f"codebooks memory, word {address}", cycle=cycle)
    first = find_times(Output(run=run, vector=0, channel=output.channel)) if output.vector else times
    enable, number, weight = (f"engine.pe_{pe}.{port}" for port in WRITE)
    waves = run.replay.record([enable, number, weight], (first.start, cycle + 1))
    writes = [at for at in range(first.start, cycle) if waves.at(enable, at) and waves.at(number, at) == code]
    if writes and waves.at(weight, writes[-1]) & mask == wanted:
        return Origin(place=f"codebook of PE {pe}", cycle=cycle)
    return Origin(place="codebook reader", cycle=writes[-1] if writes else cycle)
