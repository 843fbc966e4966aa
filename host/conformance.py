"""Networks and test vectors of a folder, each held against whatever it must be equal to."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from celosia.host.errors import CelosiaError
from celosia.host.fit import engine_for, fit_memories
from celosia.host.models import READERS, read_model
from celosia.host.models.conv_vectors import is_conv_vectors, read_conv_vectors
from celosia.host.models.float_ir import FloatNetwork
from celosia.host.models.integers import BIPOLAR, integer_range
from celosia.host.models.ir import Network
from celosia.hw.config import AcceleratorConfig


@dataclass(kw_only=True, eq=False)
class Case:
    """A file, and what was found.

    Parameters
    ----------
    path : Path
    network : Network or None
        What is in it; None if it is refused.
    inputs : ndarray (n, …), integers of the network's input type
    expected : ndarray (n, …) or None
        Outputs that the file itself says are right.
    refused : str
        Why it is not run, if it is not.
    results : dict
        What was compared → elements or runs that were, and those that differ.
    notes : list of str
        A sentence on each difference.
    """

    path: Path
    network: Network | None = None
    inputs: np.ndarray = field(default_factory=lambda: np.zeros((0,)))
    expected: np.ndarray | None = None
    refused: str = ""
    results: dict[str, tuple[int, int]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool | None:
        """Whether nothing differs; None if the file is refused."""
        return None if self.refused else not any(wrong for _, wrong in self.results.values())

    def compare(self, what: str, expected: np.ndarray, actual: np.ndarray, about: str) -> None:
        """Count the elements in which two arrays of one size differ, and note the first of them."""
        wrong = np.flatnonzero(expected.ravel() != actual.ravel())
        count, different = self.results.get(what, (0, 0))
        self.results[what] = count + expected.size, different + len(wrong)
        if len(wrong):
            first = wrong[0]
            values = f"{actual.ravel()[first]}, not {expected.ravel()[first]}"
            many = f"{len(wrong)} of {expected.size} differ"
            self.notes.append(f"{about}: {many}, the first, element {first}, is {values}.")


def find_cases(folder: Path) -> list[Path]:
    """Return the model files and test vectors in a folder and those in it, sorted.

    Raises
    ------
    CelosiaError
        There is no such folder, or nothing in it.
    """
    if not folder.is_dir():
        raise CelosiaError(f"{folder}: there is no such folder.")
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in READERS and path.is_file())
    if not found:
        raise CelosiaError(f"{folder}: there are no {', '.join(READERS)} files in it.")
    return found


def read_case(path: Path, inputs: int, seed: int) -> Case:
    """Read a file; a network gets so many random inputs."""
    case = Case(path=path)
    try:
        if path.suffix.lower() == ".npz" and is_conv_vectors(path):
            vectors = read_conv_vectors(path)
            case.network, case.inputs, case.expected = vectors.network, vectors.inputs, vectors.expected
        else:
            model = read_model(path)
            if isinstance(model, FloatNetwork):
                case.refused = "it is a float network; only quantized ones have right answers."
            else:
                case.network, case.inputs = model, _random_inputs(model, inputs, seed)
    except CelosiaError as error:
        case.refused = str(error).removeprefix(f"{path}: ")
    return case


def _random_inputs(network: Network, count: int, seed: int) -> np.ndarray:
    rng, shape = np.random.default_rng(seed), (count, *network.input_shape)
    if network.input_thresholds is not None:  # real values are what such a network takes
        return network.layer_inputs(network.quantize_input(rng.uniform(-1, 1, shape).astype(np.float32)))
    if network.input_dtype == BIPOLAR:
        return network.layer_inputs(rng.choice(np.array([-1, 1]), shape))
    low, high = integer_range(network.input_dtype)
    return network.layer_inputs(rng.integers(low, high, shape, endpoint=True))


def common_configs(cases: Iterable[Case], smallest: Callable[[str], AcceleratorConfig]) -> dict[str, AcceleratorConfig]:
    """Return for each engine a config that holds all networks it has to run; cases that do not compile are refused.

    Parameters
    ----------
    cases : iterable of Case
    smallest : callable
        From the name of an engine to a config, whose memories may be too small.
    """
    configs: dict[str, AcceleratorConfig] = {}
    for case in cases:
        if case.network is None:
            continue
        name = engine_for(case.network)
        try:
            configs[name] = fit_memories(case.network, configs.get(name) or smallest(name))
        except (CelosiaError, ValueError) as error:
            case.refused = str(error)
    # Addresses, and so descriptors, are longer where another network needs deeper memories.
    return {name: replace(config, program_depth=2 * config.program_depth) for name, config in configs.items()}


def compare_golden(case: Case, tensors: Sequence[np.ndarray]) -> None:
    """Hold the golden model against the outputs of the file, and against LiteRT where there is a file for it."""
    if case.expected is not None:
        case.compare("published outputs", case.expected, tensors[-1], "golden model")
    if case.path.suffix.lower() == ".tflite":
        _compare_litert(case, tensors)


def _compare_litert(case: Case, tensors: Sequence[np.ndarray]) -> None:
    from celosia.host.models.litert import LiteRT, litert_version
    from celosia.host.models.tflite import read_tflite_tensors

    version = litert_version()
    if version is None:
        return
    _, places = read_tflite_tensors(case.path)
    reference = LiteRT(case.path)
    for index, x in enumerate(case.inputs):
        reference.run(x.astype(np.int8))
        for number, place in places.items():
            about = f"golden model, input {index}, tensor {number} of the file"
            case.compare(f"LiteRT {version}", reference.tensor(number), tensors[place][index], about)
