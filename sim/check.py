"""Every tensor of a network in RTL, held against the golden model: layer by layer, as each is made."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from celosia.sim.core import CoreSimulator
from celosia.sim.golden import network as golden

LIMIT = 1 << 32  # cycles of a layer: the watchdog ends what hangs


@dataclass(frozen=True, kw_only=True, eq=False)
class TensorCheck:
    """A tensor of a network, as the RTL made it.

    Parameters
    ----------
    iteration : int
        Which of the iterations that the inputs take.
    index : int
        0 is the network's input, i + 1 the output of layer i.
    expected, actual : ndarray of int64, (vectors, *shape)
        What the golden model gives, and what is in memory, in the network's integers and order.
    """

    iteration: int
    index: int
    expected: np.ndarray
    actual: np.ndarray

    @property
    def equal(self) -> bool:
        """Whether all elements are."""
        return bool(np.array_equal(self.expected, self.actual))

    @property
    def wrong(self) -> int:
        """Elements that differ."""
        return int((self.expected != self.actual).sum())

    @property
    def first(self) -> tuple[int, ...]:
        """Place of the first that differs: input of the iteration, then as the tensor's axes; there must be one."""
        return tuple(int(index) for index in np.argwhere(self.expected != self.actual)[0])


def check_tensors(
    program: Any, inputs: np.ndarray, core: CoreSimulator, *, progress: Callable[[str], None] | None = None
) -> Iterator[TensorCheck]:
    """Run a program layer by layer, and read each tensor as soon as it is whole.

    Between layers the core is reset, which leaves its memories; a fault that needs two layers in flight shows in a run
    of the whole program, not here.

    Parameters
    ----------
    program : celosia.host.program.Program
    inputs : ndarray (n, …), integers of the network's input type
    core : CoreSimulator
        Of the program's config.
    progress : callable or None
        Told the name of each layer.

    Yields
    ------
    TensorCheck
        In the order in which they are made, iteration by iteration; without those that the host computes.
    """
    for memory, words in program.image.items():
        core.write(memory, words)
    if program.load_stream is not None:
        core.run(program.load_parameters(), weights=program.load_stream, limit=LIMIT)
    whole = program.run_parameters(1, stream=False)
    descriptor = program.config.layer_fields.words
    places = [program.tensor(index) for index in range(program.device_tensors)]
    for iteration in range(-(-len(inputs) // program.vectors)):
        x = inputs[iteration * program.vectors :][: program.vectors]
        wanted = golden.tensors(program.network, x)
        core.write("inputs", program.pack_inputs(x))
        done = streamed = 0
        for plan in program.layers:
            if plan.steps:
                if progress:
                    progress(plan.name)
                weights = program.weight_stream[streamed:][: plan.streamed_words] if plan.streamed_words else None
                run = replace(whole, program=done * descriptor, layers=len(plan.steps))
                core.run(run, weights=weights, limit=LIMIT)
                done, streamed = done + len(plan.steps), streamed + plan.streamed_words
            for place in places:
                if plan.steps and done - len(plan.steps) <= place.after < done:
                    words = core.read(place.memory, place.words, place.address)
                    actual = program.unpack_tensor(place.index, words)[: len(x)]
                    expected = wanted[place.index].reshape(actual.shape)
                    yield TensorCheck(iteration=iteration, index=place.index, expected=expected, actual=actual)
