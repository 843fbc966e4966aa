"""What a failed comparison tells: the first mismatch, down to PE, cycle and operands."""

from pathlib import Path

import numpy as np

from celosia.host.cli.output import note, working
from celosia.host.session import Outcome

WAVES = Path("mismatch.vcd")


def explain(outcome: Outcome, inputs: np.ndarray) -> None:
    """Run the first wrong iteration again on the core, and print where its first mismatch comes from.

    Parameters
    ----------
    outcome : Outcome
        Of a run whose outputs differ from the golden model's.
    inputs : ndarray (n, …), integers of the network's input type
        What was run.
    """
    from celosia.sim.mismatch import find_mismatch

    assert outcome.outputs is not None
    vectors = outcome.program.vectors
    wrong = np.flatnonzero((outcome.outputs != outcome.golden).reshape(len(inputs), -1).any(axis=1))
    start = int(wrong[0]) // vectors * vectors
    with working("looking for the first mismatch") as report:
        found = find_mismatch(outcome.program, inputs[start : start + vectors], waves=WAVES, progress=report)
    if found is None:
        note("the core alone gives the golden model's outputs: the fault lies in the link, or in what drives it.")
    else:
        note(f"in the run of inputs {start} to {min(start + vectors, len(inputs)) - 1}:")
        note(str(found))
