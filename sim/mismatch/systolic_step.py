"""The steps of a run of the systolic engine: where in the run each is, and the memories that they begin with."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from celosia.hw.config import AcceleratorConfig
from celosia.hw.lanes import pack_lanes, unpack_lanes
from celosia.hw.post.parameters import SHIFT_MAX
from celosia.hw.systolic.config import SystolicConfig
from celosia.hw.systolic.layer import Mode
from celosia.sim.golden.systolic_steps import Fields, Machine
from celosia.sim.mismatch.layer import LayerRun


def source_memory(fields: Fields) -> str:
    """Return the memory that a step reads."""
    return "activations" if fields["source_is_activations"] else "inputs"


def destination_memory(fields: Fields) -> str:
    """Return the memory that a step writes."""
    return "outputs" if fields["destination_is_outputs"] else "activations"


def step_sums(fields: Fields) -> int:
    """Return the accumulator rows that a step takes, one after the other."""
    return ((fields["blocks"] - 1) * fields["block_rows"] + fields["last_block_rows"]) * fields["n_tiles"]


def step_beats(fields: Fields) -> int:
    """Return the beats of a step that sum: one for each K tile of each of its sums."""
    return step_sums(fields) * fields["k_tiles"]


@dataclass(frozen=True, kw_only=True, eq=False)
class StepRun:
    """A step in an iteration of a run.

    Parameters
    ----------
    run : LayerRun
        The layer with a wrong output; the step is one of its, or one before.
    layer, number : int
        Layer that it is done for, and which of that layer's it is.
    fields : mapping
        Its descriptor, as the engine gets it in this iteration.
    first_beat, first_sum : int
        Beats and accumulator rows of the run before it.
    weighted : tuple of int or None
        First beat of the last tile with weights before it, and the beats of its line before that.
    """

    run: LayerRun
    layer: int
    number: int
    fields: Fields
    first_beat: int
    first_sum: int
    weighted: tuple[int, int] | None

    @property
    def source_memory(self) -> str:
        """Memory that it reads."""
        return source_memory(self.fields)

    @property
    def memory(self) -> str:
        """Memory that it writes."""
        return destination_memory(self.fields)

    @property
    def behind(self) -> int:
        """Beats of the run up to its end."""
        return self.first_beat + step_beats(self.fields)

    @property
    def last_tile(self) -> tuple[int, int]:
        """First beat of its last tile, and the beats of its line before that."""
        return self.behind - int(self.fields["last_block_rows"]), int(self.fields["lead"])

    def words(self, engine: SystolicConfig) -> int:
        """Return the words from the first to behind the last one that it writes."""
        fields = self.fields
        vectors = step_sums(fields) // fields["n_tiles"] // fields["pool"]
        groups = (fields["n_tiles"] - 1) * fields["n_groups"] + fields["n_edge"]
        return int((vectors - 1) * fields["destination_pitch"] + -(-groups // engine.write_lanes))


def steps_of(run: LayerRun) -> tuple[list[StepRun], list[StepRun]]:
    """Return the steps of an iteration before those of a layer, and those of the layer."""
    program = run.replay.program
    every = [step.fields for step in program.steps]
    places = [(layer, number) for layer, plan in enumerate(program.layers) for number in range(len(plan.steps))]
    beat, row = (run.iteration * sum(map(count, every)) for count in (step_beats, step_sums))
    weighted = _before(every, beat) if run.iteration else None
    steps: list[StepRun] = []
    for (layer, number), fields in zip(places, every, strict=True):
        step = StepRun(
            run=run,
            layer=layer,
            number=number,
            fields=_in_iteration(run, fields),
            first_beat=beat,
            first_sum=row,
            weighted=weighted,
        )
        steps.append(step)
        beat, row = beat + step_beats(fields), row + step_sums(fields)
        weighted = weighted if fields["mode"] == Mode.LOOKUP else step.last_tile
    return [step for step in steps if step.layer < run.index], [step for step in steps if step.layer == run.index]


def _before(every: list[Fields], beat: int) -> tuple[int, int] | None:
    """Return the last tile with weights of the iteration that ends with so many beats of the run."""
    for fields in reversed(every):
        if fields["mode"] != Mode.LOOKUP:
            return beat - fields["last_block_rows"], fields["lead"]
        beat -= step_beats(fields)
    return None


def _in_iteration(run: LayerRun, fields: Fields) -> Fields:
    """Return a descriptor as it is in an iteration."""
    replay, source, destination = run.replay, source_memory(fields), destination_memory(fields)
    return {
        **fields,
        "source": replay.address_in(run.iteration, source, fields["source"]),
        "destination": replay.address_in(run.iteration, destination, fields["destination"]),
    }


def machine_of(run: LayerRun) -> Machine:
    """Return a machine with the memories as an iteration begins with them, from the program's words alone."""
    program, config = run.replay.program, run.config
    machine, engine = Machine(config), config.engine
    assert isinstance(engine, SystolicConfig)
    inputs = run.replay.words[run.iteration * program.input_words :][: program.input_words]
    first = run.replay.address_in(run.iteration, "inputs", 0)
    machine.memories["inputs"][first : first + len(inputs)] = unpack_lanes(
        inputs, engine.rows, engine.activation_width, signed=engine.activation_signed
    )
    if "weights" in program.image:
        machine.memories["weights"] = _weights(engine, program.image["weights"])
    if program.weight_stream is not None:
        machine.stream = _weights(engine, program.weight_stream)
    if "tables" in program.image:
        width = engine.resolved_accumulator_width
        machine.memories["tables"] = unpack_lanes(program.image["tables"], engine.rows, width, signed=True)
    machine.memories["parameters"] = _parameters(config, program.image["parameters"])
    return machine


def _weights(engine: SystolicConfig, words: np.ndarray) -> np.ndarray:
    return unpack_lanes(words, engine.cols, engine.weight_width, signed=True)


def _parameters(config: AcceleratorConfig, words: np.ndarray) -> list[np.ndarray]:
    """Return bias, multiplier, shift and enable, each (words, lanes)."""
    engine = config.engine
    assert isinstance(engine, SystolicConfig)
    layout = engine.parameter_layout
    bits = unpack_lanes(words, layout.word_width, 1, signed=False)
    bits = bits[:, : layout.lanes * layout.channel_width].reshape(len(words), layout.lanes, -1)
    values, offset = {}, 0
    for field in layout.channel:
        value = (bits[..., offset : offset + field.width] << np.arange(field.width)).sum(axis=-1)
        values[field.name] = value - ((value >> (field.width - 1)) << field.width if field.signed else 0)
        offset += field.width
    code = values["shift"]
    values["shift"] = np.where(code >> 5, SHIFT_MAX - (code & 31), -1 - (code & 31))
    return [values[name] for name in ("bias", "multiplier", "shift", "enable")]


def element_lanes(program: Any, index: int, engine: SystolicConfig) -> np.ndarray:
    """Return where the elements of a tensor are: lanes counted from the first word of its place, (vectors, elements).

    The program knows: it unpacks words that hold the number of each lane, digit by digit.
    """
    words, rows, width = program.tensor(index).words, engine.rows, engine.activation_width
    lanes = np.arange(words * rows).reshape(words, rows)
    empty = program.unpack_tensor(index, pack_lanes(np.zeros_like(lanes), width))
    result = np.zeros(empty.shape, dtype=np.int64)
    for shift in range(0, int(lanes.max()).bit_length(), width):
        digits = program.unpack_tensor(index, pack_lanes(lanes >> shift, width)) - empty
        result |= (digits & ((1 << width) - 1)) << shift
    return result.reshape(len(result), -1)
