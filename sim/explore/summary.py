"""What a sweep found, in words: figures with their units, how sure they are, and why the best one is the best."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from celosia.sim.explore.candidate import LEVELS, Candidate
from celosia.sim.explore.objectives import OBJECTIVES, Objective
from celosia.sim.explore.outcome import Outcome
from celosia.sim.explore.tables import choice_names

REASONS: Final = 3  # that are told; the others are counted together
SHARES: Final = ("utilization", "accuracy")
MODELLED: Final = ("energy_uj",)
MEASURED_AT: Final = {
    **dict.fromkeys(("luts", "ffs", "dsps", "brams"), "synthesis"),
    **dict.fromkeys(("clock_mhz", "fmax_mhz", "latency_us", "inputs_per_second", "inputs_per_second_per_lut"), "route"),
}
"""Figures that are estimates at first → the level that measures them. Those of no level are exact from the start."""
BASES: Final = {
    "clock_mhz": ("fmax_mhz",),
    "latency_us": ("clock_mhz", "fmax_mhz"),
    "inputs_per_second": ("clock_mhz", "fmax_mhz"),
    "inputs_per_second_per_lut": ("clock_mhz", "fmax_mhz", "luts"),
}
"""Figures that follow from estimates → those estimates, whose errors are theirs."""
DONE: Final = {"synthesis": "synthesized", "route": "routed"}


def rounded(value: float) -> str:
    """Return a number for people: whole ones and thousands without decimals, others with four digits."""
    return f"{value:,.0f}" if abs(value) < 1e15 and (value == round(value) or abs(value) >= 1000) else f"{value:.4g}"


def title_of(name: str) -> str:
    """Return a few words for people for the name of a figure."""
    if name in OBJECTIVES:
        return OBJECTIVES[name].title
    if name.startswith("estimated_"):
        return f"{title_of(name.removeprefix('estimated_'))}, estimated"
    return "fastest clock, MHz" if name == "fmax_mhz" else name.replace("_", " ")


def worded(name: str, value: float) -> str:
    """Return a figure with its unit: ``latency 12.5 µs``, ``4,321 LUT``."""
    what, _, unit = title_of(name).partition(", ")
    if name in SHARES:
        return f"{name} {value:.1%}"
    return f"{what} {rounded(value)} {unit}" if unit else f"{rounded(value)} {what}"


def level_name(outcome: Outcome, level: str) -> str:
    """Return one or two words for what was done to candidates of a level."""
    return DONE.get(level, "estimated" if outcome.board else "exact cycles")


def level_text(outcome: Outcome, level: str) -> str:
    """Return how closely candidates of a level were looked at."""
    if not outcome.board:
        return "exact cycles"
    texts = {
        "cycles": "exact cycles, estimated area and clock",
        "synthesis": "exact cycles, synthesized area, estimated clock",
    }
    return texts.get(level) or level_name(outcome, level)


def is_estimate(candidate: Candidate, name: str) -> bool:
    """Tell whether a figure of a candidate was estimated and not measured yet."""
    since = MEASURED_AT.get(name)
    return since is not None and LEVELS.index(candidate.level) < LEVELS.index(since)


def error_text(outcome: Outcome, names: Iterable[str]) -> str:
    """Return the estimator's errors of figures, or of the estimates they follow from; empty if none is known."""
    known = [
        base
        for name in names
        for base in ((name,) if name in outcome.errors else BASES.get(name, ()))
        if base in outcome.errors
    ]
    return "; ".join(
        f"error of {_short(name)}: median {_percent(outcome.errors[name]['median'])}, "
        f"95th percentile {_percent(outcome.errors[name]['p95'])}"
        for name in dict.fromkeys(known)
    )


def reasons(outcome: Outcome) -> list[tuple[str, int]]:
    """Return why candidates are out, most frequent first, and how many are; reasons may differ in numbers only.

    Numbers in which the reasons that are counted together differ are an ellipsis.
    """
    texts: dict[str, Counter[str]] = {}
    for candidate in outcome.candidates:
        if candidate.refused:
            kind = re.sub(r"\d+(?:[.,]\d+)*", "…", candidate.refused)
            texts.setdefault(kind, Counter())[candidate.refused] += 1
    found = [(next(iter(same)) if len(same) == 1 else kind, same.total()) for kind, same in texts.items()]
    return sorted(found, key=lambda reason: -reason[1])


def front_rows(outcome: Outcome, figures: Sequence[str] | None = None) -> tuple[list[str], list[list[str]]]:
    """Return the front as a table: its header, and a row of text per candidate, best first.

    Parameters
    ----------
    outcome : Outcome
    figures : sequence of str, optional
        Names of figures; the objectives if left out.

    Returns
    -------
    header : list of str
        ``number``, the parameters that are varied, titles of the figures, ``level``.
    rows : list of list of str
        Empty where something is unknown.
    """
    names = [objective.name for objective in outcome.objectives] if figures is None else figures
    choices = choice_names(outcome)
    rows = [
        [
            str(candidate.number),
            *(str(candidate.choice.get(name, "")) for name in choices),
            *(rounded(candidate.figures[name]) if name in candidate.figures else "" for name in names),
            level_name(outcome, candidate.level),
        ]
        for candidate in outcome.front
    ]
    return ["number", *choices, *map(title_of, names), "level"], rows


def why(outcome: Outcome) -> str:
    """Return a few sentences, one per line: why the best candidate is the best, and how sure that is.

    If nothing is feasible, they tell why not.
    """
    found = outcome.front
    if not found:
        return "\n".join([_nothing(outcome), *_refused(outcome)])
    best, names = found[0], [objective.name for objective in outcome.objectives]
    count = len(outcome.candidates)
    among = (
        f"Of {count:,} candidates for {_target(outcome)}, the best"
        if count > 1
        else f"The only candidate for {_target(outcome)}"
    )
    figures = ", ".join(worded(name, best.figures[name]) for name in names)
    return "\n".join(
        [
            f"{among} is number {best.number}: {best.name}.",
            f"Its figures: {figures}.",
            _compared(outcome.objectives, found),
            *_refused(outcome),
            _sureness(outcome, best, names),
        ]
    )


def _target(outcome: Outcome) -> str:
    return f"{outcome.workload} on {outcome.board}" if outcome.board else outcome.workload


def _short(name: str) -> str:
    return name if name in SHARES else title_of(name).partition(", ")[0]


def _percent(share: float) -> str:
    return f"{share:.0%}" if share >= 0.1 else f"{share:.1%}"


def _nothing(outcome: Outcome) -> str:
    if not outcome.candidates:
        return f"There are no candidates for {_target(outcome)}."
    count = len(outcome.candidates)
    return (
        f"None of {count:,} candidates" * (count > 1)
        + "The only candidate" * (count == 1)
        + (f" for {_target(outcome)} is{' not' * (count == 1)} feasible.")
    )


def _compared(objectives: Sequence[Objective], found: Sequence[Candidate]) -> str:
    """Compare the best of a front with the next."""
    if len(found) == 1:
        return "It is alone on the front: nothing else is better in any objective."
    best, other = found[0].figures, found[1].figures
    names = [objective.name for objective in objectives]
    beside = f"The next of {len(found)} on the front, number {found[1].number}, {found[1].name}"
    return f"{beside}: {', '.join(f'{worded(name, other[name])} ({_change(best, other, name)})' for name in names)}."


def _change(old: Mapping[str, float], new: Mapping[str, float], name: str) -> str:
    if new[name] == old[name]:
        return "the same"
    way = "more" if new[name] > old[name] else "less"
    return f"{_percent(abs(new[name] / old[name] - 1))} {way}" if old[name] else way


def _refused(outcome: Outcome) -> list[str]:
    """Return a sentence about the refused candidates, if there are any."""
    found = reasons(outcome)
    if not found:
        return []
    total = sum(count for _, count in found)
    verb = "was" if total == 1 else "were"
    if len(found) == 1:
        return [f"{total:,} {verb} refused{', all' * (total > 1)} because “{found[0][0].rstrip('.')}”."]
    told = [f"{count:,} × “{reason.rstrip('.')}”" for reason, count in found[:REASONS]]
    others = sum(count for _, count in found[REASONS:])
    return [f"{total:,} {verb} refused: {'; '.join(told)}{f'; {others:,} for other reasons' * bool(others)}."]


def _sureness(outcome: Outcome, best: Candidate, names: Sequence[str]) -> str:
    """Tell which figures are exact, measured, estimated or modelled."""
    kinds: dict[str, list[str]] = {"exact": [], "measured": [], "estimated": [], "from a model": []}
    for name in names:
        text, before = _short(name), best.figures.get(f"estimated_{name}")
        if name in MODELLED:
            kinds["from a model"].append(text)
        elif is_estimate(best, name):
            kinds["estimated"].append(text)
        elif name not in MEASURED_AT:
            kinds["exact"].append(text)
        elif before is not None:
            kinds["measured"].append(f"{text} (estimated before: {rounded(before)})")
        else:
            kinds["measured"].append(text)
    errors = error_text(outcome, [name for name in names if is_estimate(best, name)])
    if kinds["estimated"]:
        kinds["estimated"][-1] += f" ({errors or 'errors unknown'})"
    text = "; ".join(f"{kind}: {', '.join(titles)}" for kind, titles in kinds.items() if titles)
    return f"How sure its figures are: {text}."
