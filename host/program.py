"""A compiled network: what is written into the memories, and how a run is started."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from celosia.host.errors import CompileError
from celosia.host.models.ir import Layer, Network
from celosia.host.pack.image import Deferred, Image, together
from celosia.host.pack.step import Arrangement, Location
from celosia.hw.config import AcceleratorConfig
from celosia.hw.lanes import Words
from celosia.hw.protocol import RunParameters


@dataclass(frozen=True, kw_only=True, eq=False)
class PlannedStep:
    """One descriptor of a layer.

    Parameters
    ----------
    fields : mapping
        All its fields.
    detail : object
        What the cycle model needs to know of the step's weights, if anything.
    """

    fields: Mapping[str, int]
    detail: Any = None


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerPlan:
    """One layer as compiled.

    Parameters
    ----------
    name : str
        Name of the layer.
    layer : Layer
        The layer of the network.
    kind : str
        Name of its class.
    on_host : bool
        Whether the host computes it from the engine's results.
    mode : str
        How the engine computes it; empty if it has nothing to do.
    shape : tuple of int
        (M, K, N): activation vectors per iteration, inputs of each, outputs; zeros without steps.
    arranged : object or None
        The layer as the engine's packer arranged it, where golden and cycle model depend on that.
    steps : sequence of PlannedStep
        What the device does for it.
    weight_words : int
        Weight memory words of the layer.
    macs : int
        Multiply-accumulates of one iteration.
    read_bytes, written_bytes : int
        Of activations, in one iteration.
    streamed_words : int
        Weight words that one iteration takes from the stream.
    weight_read_bytes : int or None
        Of weights that the engine reads in one iteration; None if that depends on the inputs.
    reason : str
        Where the weights are, what else was chosen, and why.
    """

    name: str
    layer: Layer
    kind: str
    on_host: bool
    mode: str
    shape: tuple[int, int, int]
    arranged: Any
    steps: Sequence[PlannedStep]
    weight_words: int
    macs: int
    read_bytes: int
    written_bytes: int
    streamed_words: int
    weight_read_bytes: int | None
    reason: str

    @property
    def tiles(self) -> dict[str, int]:
        """Blocks, K tiles and N tiles of its only step; of several steps, their number."""
        names = ("blocks", "k_tiles", "n_tiles")
        if len(self.steps) == 1 and all(name in self.steps[0].fields for name in names):
            return {name: self.steps[0].fields[name] for name in names}
        return {"steps": len(self.steps)}


@dataclass(frozen=True, kw_only=True, eq=False)
class TensorPlace:
    """Where a tensor of the network is on the device, and when.

    Parameters
    ----------
    index : int
        0 is the network's input, i + 1 the output of layer i.
    memory : str
        ``inputs``, ``activations`` or ``outputs``.
    address, words : int
        First word and number of words, which other tensors may share.
    after, until : int
        Steps of an iteration, counted from 0: it is whole once step `after` is done, −1 for before all of them, and
        stays so until step `until` begins, which is the number of steps for always.
    """

    index: int
    memory: str
    address: int
    words: int
    after: int
    until: int


@dataclass(frozen=True, kw_only=True)
class Program:
    """A network compiled for one accelerator config.

    Parameters
    ----------
    network : Network
        What was compiled.
    config : AcceleratorConfig
        What it was compiled for; no other device runs it.
    arrangement : Arrangement
        The network as the engine's packer arranged it.
    vectors : int
        Inputs of the network that one iteration takes.
    layers : sequence of LayerPlan
        The layers in order, those that the host computes last.
    operation_steps : sequence of int
        Steps of each operation of the arrangement.
    locations : sequence of Location
        Of each buffer of the arrangement.
    activation_words : int
        Words that tensors between layers take in the activation memory.
    image : Image
        By memory name, the words from address 0 on: uint32, (entries, 32-bit words of a memory word).
    streamed : sequence
        Parts of `weight_stream`.
    ring_base : int
        First weight address of the ring for streamed weights.
    loads : sequence of PlannedStep
        What the device does once, before the first iteration, to have weights that are not in `image`.
    loaded : sequence
        Parts of `load_stream`.
    """

    network: Network
    config: AcceleratorConfig
    arrangement: Arrangement
    vectors: int
    layers: Sequence[LayerPlan]
    operation_steps: Sequence[int]
    locations: Sequence[Location]
    activation_words: int
    image: Image
    streamed: Sequence[Words | Deferred]
    ring_base: int
    loads: Sequence[PlannedStep]
    loaded: Sequence[Words | Deferred]

    @cached_property
    def weight_stream(self) -> Words | None:
        """Weight words that each iteration takes from the stream, in order: uint32; None if it takes none."""
        return together(self.streamed)

    @cached_property
    def load_stream(self) -> Words | None:
        """Weight words that the `loads` take from the stream, in order: uint32; None if they take none."""
        return together(self.loaded)

    @property
    def steps(self) -> list[PlannedStep]:
        """What the device does in an iteration, in order."""
        return [step for layer in self.layers for step in layer.steps]

    @property
    def device_tensors(self) -> int:
        """Tensors of the network that are on the device: its input, and the outputs of all layers but the host's."""
        return len(self.arrangement.tensors)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one iteration."""
        return sum(layer.macs for layer in self.layers)

    @property
    def host_layers(self) -> Sequence[Layer]:
        """The last layers, if the host computes them from the engine's results; `celosia.sim.golden` says how."""
        return [plan.layer for plan in self.layers if plan.on_host]

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of one result of the engine, before the host's layers."""
        engine_layers = [plan.layer for plan in self.layers if not plan.on_host]
        return engine_layers[-1].output_shape if engine_layers else self.layers[0].layer.input_shape

    @property
    def input_words(self) -> int:
        """Memory words of one iteration's inputs."""
        return self.vectors * self.arrangement.buffers[self.arrangement.input]

    @property
    def output_words(self) -> int:
        """Memory words of one iteration's results."""
        return self.vectors * self.arrangement.buffers[self.arrangement.output]

    def tensor(self, index: int) -> TensorPlace:
        """Return where a tensor of the network is, in an iteration whose inputs and results do not stream.

        Parameters
        ----------
        index : int
            0 is the network's input, i + 1 the output of layer i.

        Raises
        ------
        CompileError
            The host computes it.
        """
        if not 0 <= index < self.device_tensors:
            raise CompileError(
                f"tensor {index} is not on the device, which has tensors 0 to {self.device_tensors - 1}."
            )
        stored = self.arrangement.tensors[index]
        firsts, behind = self._step_ranges()
        location, words = self.locations[stored.buffer], self.vectors * self.arrangement.buffers[stored.buffer]
        until = len(self.steps)
        for number in range(len(self.arrangement.operations) - 1, stored.after, -1):
            other = self.arrangement.operations[number].destination
            place, size = self.locations[other], self.vectors * self.arrangement.buffers[other]
            apart = place.address + size <= location.address or location.address + words <= place.address
            if other != stored.buffer and place.memory == location.memory and not apart:
                until = firsts[number]
        return TensorPlace(
            index=index,
            memory=location.memory,
            address=location.address,
            words=words,
            after=behind[stored.after] - 1 if stored.after >= 0 else -1,
            until=until,
        )

    def unpack_tensor(self, index: int, words: Words) -> np.ndarray:
        """Turn the words of a tensor, see `tensor`, into the network's integers: int64, (vectors, *its shape)."""
        shape = self.layers[index - 1].layer.output_shape if index else self.layers[0].layer.input_shape
        return self.arrangement.unpack(index, words).reshape(-1, *shape)

    def _step_ranges(self) -> tuple[list[int], list[int]]:
        """Return the first step of each operation, and that behind its last one."""
        sizes = self.operation_steps
        ends = list(itertools.accumulate(sizes))
        return [end - size for end, size in zip(ends, sizes, strict=True)], ends

    @property
    def can_stream(self) -> bool:
        """Whether half of the memories of inputs and outputs holds an iteration's."""
        halves = self.config.input_depth // 2, self.config.output_depth // 2
        return self.input_words <= halves[0] and self.output_words <= halves[1]

    def run_parameters(self, iterations: int, *, stream: bool) -> RunParameters:
        """Return the numbers that start a run.

        Parameters
        ----------
        iterations : int
            Batches of `vectors` inputs.
        stream : bool
            Whether inputs and results stream; else they are in their memories before and after, for one iteration.
        """
        return RunParameters(
            program=0,
            layers=len(self.steps),
            iterations=iterations,
            input_words=self.input_words if stream else 0,
            output_words=self.output_words if stream else 0,
            ring_base=self.ring_base,
            config_hash=self.config.hash,
        )

    def load_parameters(self) -> RunParameters:
        """Return the numbers that start the run of `loads`, which must be before any other."""
        return RunParameters(
            program=len(self.steps) * self.config.layer_fields.words,
            layers=len(self.loads),
            ring_base=self.ring_base,
            config_hash=self.config.hash,
        )

    def pack_inputs(self, values: np.ndarray) -> Words:
        """Turn inputs into memory words.

        Parameters
        ----------
        values : ndarray (n, …), integers of the network's input type
            Inputs; missing ones of the last iteration are filled with zeros.

        Returns
        -------
        ndarray of uint32, (iterations · input_words, 32-bit words of a memory word)
        """
        flat = np.asarray(values).reshape(len(values), -1).astype(np.int64)
        iterations = -(-len(flat) // self.vectors)
        padded = np.zeros((iterations * self.vectors, flat.shape[1]), dtype=np.int64)
        padded[: len(flat)] = flat
        return self.arrangement.pack_inputs(padded)

    def unpack_outputs(self, words: Words, count: int) -> np.ndarray:
        """Turn result words into the engine's results, the network's integers: int64, (count, *output_shape)."""
        flat = self.arrangement.unpack(self.device_tensors - 1, words)[:count]
        return flat.reshape(count, *self.output_shape)
