"""Self-checking testbench in plain Verilog, for a whole accelerator behind any link."""

from collections.abc import Mapping
from typing import Any, Final

import celosia
from celosia.host.deliverable.links import LINK_BENCHES, template_values
from celosia.host.deliverable.template import fill
from celosia.host.deliverable.vectors import Vectors
from celosia.hw.config import AcceleratorConfig
from celosia.hw.protocol import OUTSTANDING

_UNLIMITED: Final = (1 << 31) - 1  # requests: whoever cannot take them says so
_MARGIN: Final = 20_000  # cycles, beside a run's, in which something has to move


def verilog_testbench(
    top: str,
    config: AcceleratorConfig,
    vectors: Vectors,
    *,
    link: str = "",
    parameters: Mapping[str, Any] | None = None,
    what: str,
) -> str:
    """Return the testbench, module ``TOP_tb``.

    Parameters
    ----------
    top : str
        Name of the accelerator's module.
    config : AcceleratorConfig
    vectors : Vectors
    link : str
        One of `LINK_BENCHES`.
    parameters : mapping, optional
        Of the link.
    what : str
        A few words that name the accelerator.
    """
    bench, given = LINK_BENCHES[link], parameters or {}
    values = {**template_values(config, given), "top": top}
    text = fill(
        "testbench.v",
        top=top,
        what=what,
        version=celosia.__version__,
        hash=config.hash,
        request_words=vectors.request_words,
        answer_words=vectors.answer_words,
        patience=2 * vectors.longest_run + _MARGIN + _word_cycles(given) * (config.packet_words + 8),
        outstanding=_UNLIMITED if bench.has_flow_control else OUTSTANDING,
        take_stalls="1'b1" if bench.has_flow_control else "1'b0",
        connection="".join(fill(name, **values) for name in bench.connection).rstrip(),
        modules="".join(fill(name, **values) for name in bench.modules),
    )
    return text.rstrip() + "\n"


def _word_cycles(parameters: Mapping[str, Any]) -> int:
    """Return the most cycles that a word takes on a link with these parameters."""
    if "baud" not in parameters:
        return 20
    return round(8 * 10 * parameters["clock_hz"] / parameters["baud"]) + 1  # each of four bytes escaped, ten bits each
