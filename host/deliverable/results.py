"""Results of the golden model as words of the output memory, and which of their bits it knows."""

import numpy as np

from celosia.host.program import Program
from celosia.hw.lanes import Words

_PROBED_BYTES = 1 << 25  # of words that are unpacked at once


def result_words(program: Program, values: np.ndarray) -> tuple[Words, Words]:
    """Turn results into the words in which the device leaves them: the inverse of `Program.unpack_outputs`.

    Each packer says how words are read, none how they are written. So the place of each bit is found by reading words
    in which nothing else is set. That takes time and memory in proportion to the square of a result's bits.

    Parameters
    ----------
    program : Program
    values : ndarray (n, …), integers
        Results of the engine, those of whole iterations.

    Returns
    -------
    words : ndarray of uint32, (n · words of a result, 32-bit words of a memory word)
    known : ndarray of uint32, of the same shape
        Ones where a bit is part of a result; what the device writes beside them, nobody reads.

    Raises
    ------
    ValueError
        A value cannot be told by any words.
    """
    arrangement, spec = program.arrangement, program.config.memory("outputs")
    entries = arrangement.buffers[arrangement.output]
    bits = entries * 32 * spec.link_words
    places, weights, rest = _places(program, bits)
    flat = np.asarray(values).reshape(len(values), -1).astype(np.int64) - rest
    found = np.zeros((len(flat), bits), dtype=np.uint8)
    for place, weight in zip(places.T, weights.T, strict=True):  # the least significant bit of each element first
        taken = (flat // np.abs(weight)) & 1
        found[:, place] = taken
        flat -= taken * weight
    if flat.any():
        raise ValueError("a result of the golden model is out of the range of the output memory's integers.")
    known = np.zeros((1, bits), dtype=np.uint8)
    known[:, places.ravel()] = 1
    shape = len(values) * entries, spec.link_words
    return _to_words(found).reshape(shape), np.tile(_to_words(known), (len(values), 1)).reshape(shape)


def _places(program: Program, bits: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the place and the weight of each bit of each element, (elements, bits of one), and what zeros stand for.

    Bits are in the order of their weights' magnitudes, which are powers of two times that of the first.
    """
    spec = program.config.memory("outputs")
    tensor = program.device_tensors - 1

    def unpack(flags: np.ndarray) -> np.ndarray:
        return program.arrangement.unpack(tensor, _to_words(flags).reshape(-1, spec.link_words))

    zeros = unpack(np.zeros((1, bits), dtype=np.uint8))[0]
    step = max(1, _PROBED_BYTES // bits)
    element, place, weight = [], [], []
    for start in range(0, bits, step):
        probes = np.arange(start, min(start + step, bits))
        probes = probes[probes % (32 * spec.link_words) < spec.width]
        response = unpack(probes[:, None] == np.arange(bits)) - zeros
        which, elements = np.nonzero(response)
        element.append(elements)
        place.append(probes[which])
        weight.append(response[which, elements])
    all_weights = np.concatenate(weight)
    order = np.lexsort((np.abs(all_weights), np.concatenate(element)))
    shape = len(zeros), -1
    return np.concatenate(place)[order].reshape(shape), all_weights[order].reshape(shape), zeros


def _to_words(flags: np.ndarray) -> Words:
    """Pack flags (n, bits), a multiple of 32 of them, into uint32 (n, bits / 32), least significant first."""
    return np.packbits(flags, axis=1, bitorder="little").view("<u4").astype(np.uint32)
