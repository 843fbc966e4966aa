"""Contract between the core and an engine: the ports every engine has."""

from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from celosia.hw.config import AcceleratorConfig
from celosia.hw.memory import read_port, write_port
from celosia.hw.pipeline import struct_of


def tensor_depth(config: AcceleratorConfig) -> int:
    """Return the depth of the deepest tensor memory: tensor addresses are as wide as it needs."""
    return max(config.memory(name).depth for name in ("inputs", "activations", "outputs"))


def engine_signature(config: AcceleratorConfig) -> wiring.Signature:
    """Return the ports of an engine in an accelerator of that config.

    * `layer`, a descriptor, is there while `layer_valid`; `layer_take` ends it. `layer_ready` says that its inputs are
      there and that there is room for its results: the engine may look ahead before, but reads no input and takes no
      layer.
    * `weights`, `parameters`, `source` read memories, data `hw.timing.READ_LATENCY` cycles after the address.
      `source_is_activations` goes with the address: else it reads the inputs.
      `ring_address` and `ring_available` offer the next streamed weight word; `ring_take`, in the cycle in which that
      address is read, takes it.
    * `write` writes the activations, or the outputs if `write_outputs`.
    * `done` strobes when the layer taken last is wholly written.
    * `cause`, a number in the engine's CAUSES, says what this cycle goes to while `active`.
    * `progress` is high in a cycle in which anything advanced.
    """
    engine = config.engine
    weights, parameters = config.memory("weights"), config.memory("parameters")
    word, depth = engine.activation_word_width, tensor_depth(config)
    return wiring.Signature(
        {
            "layer": In(struct_of(config.layer_fields)),
            "layer_valid": In(1),
            "layer_ready": In(1),
            "layer_take": Out(1),
            "weights": Out(read_port(weights.width, weights.depth)),
            "ring_available": In(1),
            "ring_address": In(read_port(weights.width, weights.depth).members["address"].shape),
            "ring_take": Out(1),
            "parameters": Out(read_port(parameters.width, parameters.depth)),
            "source": Out(read_port(word, depth)),
            "source_is_activations": Out(1),
            "write": Out(write_port(word, depth, engine.write_lanes)),
            "write_outputs": Out(1),
            "active": Out(1),
            "done": Out(1),
            "cause": Out(range(len(engine.CAUSES))),
            "progress": Out(1),
        }
    )
