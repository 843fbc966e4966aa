"""What in a model file is not supported, collected so that one sentence names all of it."""

from typing import Final

_MAX_NAMED: Final = 20
_MAX_REASONS: Final = 20


class Problems:
    """Reasons and the operators that have them, in the order in which they were found; false if there are none."""

    def __init__(self) -> None:
        self._operators: dict[str, list[str]] = {}

    def __bool__(self) -> bool:
        return bool(self._operators)

    def add(self, reason: object, operator: str) -> None:
        """Note that an operator is not supported; a full stop behind the reason is left out."""
        self._operators.setdefault(str(reason).rstrip("."), []).append(operator)

    def sentence(self, supported: str) -> str:
        """Return the sentence that names them, and what is supported."""
        named = []
        for reason, operators in list(self._operators.items())[:_MAX_REASONS]:
            more = len(operators) - _MAX_NAMED
            names = ", ".join(operators[:_MAX_NAMED]) + (f" and {more} more" if more > 0 else "")
            named.append(f"{names}: {reason}")
        if len(self._operators) > _MAX_REASONS:
            named.append(f"and {len(self._operators) - _MAX_REASONS} more reasons")
        return f"unsupported: {'; '.join(named)}. Supported are {supported}."
