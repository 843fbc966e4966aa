"""The core's port: what a command processor asks of a core, and both are built around."""

from amaranth.hdl import unsigned
from amaranth.lib import data, stream, wiring

from celosia.hw.config import AcceleratorConfig
from celosia.hw.protocol import RUN_FIELDS
from celosia.hw.timing import READ_LATENCY

HOST_READ_LATENCY = READ_LATENCY + 2  # cycles from an address at the core's host port to its word


def run_layout() -> data.StructLayout:
    """Return the layout of a run's numbers."""
    return data.StructLayout({name: unsigned(width) for name, width in RUN_FIELDS.items()})


def host_address_width(config: AcceleratorConfig) -> int:
    """Return the bits of an address in the deepest memory."""
    return max((memory.depth - 1).bit_length() for memory in config.memories)


def widest_word(config: AcceleratorConfig) -> int:
    """Return the bits of the widest memory word."""
    return max(memory.width for memory in config.memories)


def core_port(config: AcceleratorConfig) -> wiring.Signature:
    """Return what the command processor asks of a core, seen from the command processor.

    * `host_write_enable` writes `host_write_data` to `host_address` of `host_memory`; the word at `host_address` is on
      `host_read_data` HOST_READ_LATENCY cycles later, and what was written in a cycle before it. Both only while `busy`
      is low, and not together with `run_start`.
    * `i_weights`, `i_inputs`, `o_results`: the streams of a run. A word that is offered when the run ends is withdrawn.
    * `run_start` starts `run`, which is then steady until the run is over; `busy` rises within two cycles and falls
      after the last result has been taken.
    * `ready` says that a run may start: after a reset or an abort an engine may have to clear its accumulators first.
    * `run_abort` drops the run; `busy` falls within a few cycles. `fault` says that the core has dropped it by itself,
      `corrupt` beside it that streamed weights were not what they had to be.
    * `saturated`: an accumulator saturated in the last run.
    * `total_cycles`, `cause_cycles`: counters of the last run, steady from three cycles after the fall of `busy` on.
    """
    words = {memory.name: stream.Signature(memory.width) for memory in config.memories}
    return wiring.Signature(
        {
            "host_write_enable": wiring.Out(1),
            "host_memory": wiring.Out(3),
            "host_address": wiring.Out(host_address_width(config)),
            "host_write_data": wiring.Out(widest_word(config)),
            "host_read_data": wiring.In(widest_word(config)),
            "i_weights": wiring.Out(words["weights"]),
            "i_inputs": wiring.Out(words["inputs"]),
            "o_results": wiring.In(words["outputs"]),
            "run_start": wiring.Out(1),
            "run": wiring.Out(run_layout()),
            "run_abort": wiring.Out(1),
            "busy": wiring.In(1),
            "ready": wiring.In(1),
            "fault": wiring.In(1),
            "corrupt": wiring.In(1),
            "saturated": wiring.In(1),
            "total_cycles": wiring.In(config.counter_width),
            "cause_cycles": wiring.In(data.ArrayLayout(unsigned(config.counter_width), len(config.causes))),
        }
    )
