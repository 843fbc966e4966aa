"""Contract between the core and an engine: the ports every engine has."""

from typing import Any

from amaranth.hdl import Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from celosia.hw.config import AcceleratorConfig
from celosia.hw.memory import read_port, write_port
from celosia.hw.pipeline import struct_of
from celosia.hw.protocol import RUN_FIELDS


def tensor_depth(config: AcceleratorConfig) -> int:
    """Return the depth of the deepest tensor memory: tensor addresses are as wide as it needs."""
    return max(config.memory(name).depth for name in ("inputs", "activations", "outputs"))


def engine_signature(config: AcceleratorConfig) -> wiring.Signature:
    """Return the ports of an engine in an accelerator of that config.

    * `start` strobes in the cycle before the first of a run, and only while `ready`; `running` is high during a run.
      `ring_base` is the run's, steady from `start` on.
    * `layer`, a descriptor, is there while `layer_valid`; `layer_take` ends it. `layer_ready` says that its inputs are
      there and that there is room for its results: the engine may look ahead before, but reads no input and takes no
      layer.
    * `i_weights` streams weight words; the engine keeps them in the weight memory through `weights_write`.
    * `weights`, `parameters`, the engine's own memories and `source` read memories, data `hw.timing.READ_LATENCY`
      cycles after the address. `source_is_activations` goes with the address: else it reads the inputs.
    * `write` writes the activations, or the outputs if `write_outputs`.
    * `done` strobes when the layer taken last is wholly written.
    * `cause`, a number in the engine's CAUSES, says what this cycle goes to while `active`.
    * `progress` is high in a cycle in which anything advanced.
    * `saturated` is high from the first accumulator that saturated to the next `start`.
    * `corrupt` strobes when streamed weights are not what they have to be: the core then drops the run.
    """
    engine = config.engine
    word, depth = engine.activation_word_width, tensor_depth(config)
    weights = config.memory("weights")
    own = [memory for memory in config.memories if memory.name in ("weights", "parameters") or memory.is_engines]
    return wiring.Signature(
        {
            "start": In(1),
            "running": In(1),
            "ready": Out(1),
            "ring_base": In(RUN_FIELDS["ring_base"]),
            "layer": In(struct_of(config.layer_fields)),
            "layer_valid": In(1),
            "layer_ready": In(1),
            "layer_take": Out(1),
            "i_weights": In(stream.Signature(weights.width)),
            "weights_write": Out(write_port(weights.width, weights.depth, banks=weights.banks)),
            **{memory.name: Out(read_port(memory.width, memory.depth, memory.banks)) for memory in own},
            "source": Out(read_port(word, depth)),
            "source_is_activations": Out(1),
            "write": Out(write_port(word, depth, engine.write_lanes)),
            "write_outputs": Out(1),
            "active": Out(1),
            "done": Out(1),
            "cause": Out(range(len(engine.CAUSES))),
            "progress": Out(1),
            "saturated": Out(1),
            "corrupt": Out(1),
        }
    )


class EngineComponent(wiring.Component):
    """Component with the ports of an engine, as `engine_signature` says; memories of its own beside them."""

    start: Signal
    running: Signal
    ready: Signal
    ring_base: Signal
    layer: data.View
    layer_valid: Signal
    layer_ready: Signal
    layer_take: Signal
    i_weights: stream.Interface
    weights_write: Any
    weights: Any
    parameters: Any
    source: Any
    source_is_activations: Signal
    write: Any
    write_outputs: Signal
    active: Signal
    done: Signal
    cause: Signal
    progress: Signal
    saturated: Signal
    corrupt: Signal

    def __init__(self, config: AcceleratorConfig) -> None:
        self.config = config
        super().__init__(engine_signature(config))
