import numpy as np

from celosia.hw.protocol import Answer, Opcode, StatusCode


def test_identify_write_read(link, packets, link_config):
    rng = np.random.default_rng(1)
    memory = packets.model.memories
    requests = [packets.command(Opcode.IDENTIFY), packets.command(Opcode.RESET)]
    for spec in link_config.memories:
        count = min(spec.depth, link_config.packet_words // spec.link_words)
        words = rng.integers(0, 1 << 32, (count, spec.link_words), np.uint64).astype(np.uint32)
        requests += [packets.write(spec.id, 0, words), packets.read(spec.id, 0, count)]
        requests += [packets.write(spec.id, spec.depth - 1, words[:1]), packets.read(spec.id, spec.depth - 1, 1)]
    assert all(m.any() == 0 for m in memory.values())
    answers = link.exchange(requests)
    for request, answer in zip(requests, answers, strict=True):
        assert answer == packets.model.answer(request)
        assert Answer.decode(answer).status is StatusCode.OK
