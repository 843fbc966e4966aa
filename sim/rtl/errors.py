"""Errors of the simulator that a user can act on."""

__all__ = ["SimulationError"]


class SimulationError(RuntimeError):
    """The simulator cannot be built or was asked for something it cannot do; the message says what would be right."""
