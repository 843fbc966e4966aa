"""Cycles of steps on the binary engine; the twin of `celosia.hw.binary.engine`.

Nothing depends on data. The last beat of a pass waits for the window of the next one and for the drain of the pass
before; so passes follow each other every as many cycles as the longest of the three takes.
"""

from collections.abc import Mapping
from typing import Any

from celosia.hw.binary.config import BinaryConfig
from celosia.hw.binary.timing import FILL_CYCLES, LOADED_CYCLES, POST_CYCLES, WINDOW_CYCLES, capture_cycles
from celosia.hw.config import AcceleratorConfig
from celosia.sim.cycles.load import load_raw
from celosia.sim.cycles.model import Source


class EngineTimes:
    """Follows the engine from step to step."""

    take_cycles = 0  # from the cycle in which nothing is in the way of a step to the one in which it is taken

    def __init__(self, config: AcceleratorConfig, ring_base: int, weights: Source) -> None:  # noqa: ARG002
        assert isinstance(config.engine, BinaryConfig)
        self.engine = config.engine
        self._weights = weights
        self._loaded = 0  # first cycle in which the loader is idle

    def run(
        self,
        step: Mapping[str, int],
        offered: int,
        take: int,
        work: None = None,  # noqa: ARG002
    ) -> tuple[int, dict[str, int]]:
        """Return the cycle in which a step is wholly written, and where its cycles went.

        Parameters
        ----------
        step : mapping
            Fields of the descriptor, see `celosia.hw.binary.layer`.
        offered, take : int
            First cycle in which the loader may look at the step; cycle in which the engine takes it.
        work : None
            Nothing but the descriptor decides.
        """
        words = step["load_words"]
        if words:
            start = max(offered, self._loaded) if step["load_ahead"] else take
            self._loaded = load_raw(words, start, self._weights).idle
        ready = take + 1 + FILL_CYCLES
        first = max(ready, self._loaded + LOADED_CYCLES) if words else ready
        last, beats = self._beats(step, first, take)
        drained = step["groups_edge"] * self._steps(step) + capture_cycles(self.engine) - 1 + POST_CYCLES
        done = last + drained + (0 if step["raw"] else step["output_planes"] - 1)
        return done, {
            "compute": beats,
            "fill": FILL_CYCLES,
            "weights_wait": first - ready,
            "output_wait": last + 1 - first - beats,
            "drain": done - last,
        }

    def _steps(self, step: Mapping[str, int]) -> int:
        """Return the steps of the drain of a group of lanes."""
        return self.engine.resolved_post_lanes * self.engine.result_words if step["raw"] else step["thresholds"]

    def _beats(self, step: Mapping[str, int], first: int, take: int) -> tuple[int, int]:
        """Return the cycle of the last beat, if the first could be sent in that cycle, and the number of beats."""
        beats = pass_beats(step)
        pool = step["pool_rows"] * step["pool_cols"]
        pixels = step["vectors"] * step["out_rows"] * step["out_cols"]
        passes = pixels * step["folds"] * pool
        if passes == 1:
            return first + beats - 1, beats
        drains = {"full": step["drain_cycles"], "edge": step["drain_cycles_edge"]}
        # Cycles from a pass's last beat to the next one's, by the fold of the first.
        before = {"full": pixels * pool * (step["folds"] - 1), "edge": pixels * pool - 1}
        times = {fold: max(beats, drain, WINDOW_CYCLES) for fold, drain in drains.items()}
        last = max(first + beats - 1, take + FILL_CYCLES + WINDOW_CYCLES)
        last += sum(count * times[fold] for fold, count in before.items())
        # Behind the last pass there is no window to wait for.
        fold = "full" if pool == 1 and step["folds"] > 1 else "edge"
        return last - times[fold] + max(beats, drains[fold]), passes * beats


def pass_beats(step: Mapping[str, int]) -> int:
    """Return the beats of a pass."""
    loops = ("planes", "weight_planes", "kernel_rows", "kernel_cols", "chunks")
    beats = 1
    for loop in loops:
        beats *= step[loop]
    return beats


def works(program: Any, inputs: Any) -> None:
    """Say that cycles do not depend on the inputs."""
