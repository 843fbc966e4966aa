from dataclasses import replace

import numpy as np

from celosia.host.compile import compile_network
from celosia.host.deliverable.vectors import golden_vectors
from celosia.hw.protocol import Answer, Opcode, Request, StatusCode, StatusReport, identity
from celosia.sim import reference


def test_packets_are_whole_and_in_order(tiny, vectors):
    program, inputs = tiny
    requests = [Request.decode(exchange.request) for exchange in vectors.exchanges]
    answers = [Answer.decode(exchange.answer) for exchange in vectors.exchanges]
    assert [request.sequence for request in requests] == [number & 0xFF for number in range(len(requests))]
    for request, answer in zip(requests, answers, strict=True):
        assert (answer.opcode, answer.sequence, answer.status) == (request.opcode, request.sequence, StatusCode.OK)
    verbs = [Opcode(request.opcode).name for request in requests]
    assert verbs[:3] == ["IDENTIFY", "STATUS", "RESET"]
    assert verbs[-4 * len(inputs) :] == ["WRITE", "RUN", "STATUS", "READ"] * len(inputs)
    assert answers[0].payload == identity(program.config)
    assert StatusReport.decode(answers[1].payload).fresh
    reports = [StatusReport.decode(answer.payload) for answer in answers if answer.opcode == Opcode.STATUS][1:]
    predictions = reference.predict_each(program, inputs)
    assert [report.cause_cycles for report in reports] == [tuple(each.causes.values()) for each in predictions]
    assert vectors.longest_run == max(report.total_cycles for report in reports) > 0


def test_only_lanes_without_results_are_not_foretold(tiny, vectors):
    program, inputs = tiny
    for exchange in vectors.exchanges:
        assert len(exchange.known) == len(exchange.answer)
        hidden = 8 * len(exchange.known) - int.from_bytes(exchange.known).bit_count()
        is_read = Request.decode(exchange.request).opcode == Opcode.READ
        lanes = 32 * program.output_words - 8 * 3  # three results of eight bits
        assert hidden == (lanes + 32 if is_read else 0)  # and with them the checksum
    assert sum(len(exchange.known) for exchange in vectors.exchanges) == 4 * vectors.answer_words
    assert len(inputs) == vectors.inputs == 2


def test_hex_files(vectors):
    requests, answers = vectors.requests_hex().splitlines(), vectors.answers_hex().splitlines()
    words = [line for line in requests if not line.startswith("//")]
    assert len(words) == vectors.request_words
    assert sum(line.startswith("1_") for line in words) == len(vectors.exchanges)
    assert words[0] == "0_000001ce"
    first = next(line for line in answers if not line.startswith("//"))
    assert first == "0_000001ca_ffffffff"
    titles = [line for line in requests if line.startswith("//")]
    assert titles == [line for line in answers if line.startswith("//")]
    assert titles[0] == "// 0: IDENTIFY"
    assert titles[-1] == "// 13: READ results of input 1, words 0 to 1"


def test_counters_of_streamed_weights_are_not_foretold(tiny):
    program, inputs = tiny
    config = replace(program.config, weight_depth=8)
    streamed = compile_network(program.network, config)
    assert streamed.weight_stream is not None
    exchanges = golden_vectors(streamed, inputs, reference).exchanges
    *_, status = (each for each in exchanges if Request.decode(each.request).opcode == Opcode.STATUS)
    assert np.frombuffer(status.known, dtype=np.uint32)[:2].all()
    assert not np.frombuffer(status.known, dtype=np.uint32)[2:-2].any()
    assert status.known[-4:] == bytes(4)
    assert any("the stream of the weights" in exchange.title for exchange in exchanges)
