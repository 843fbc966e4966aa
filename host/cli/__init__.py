"""The command line: ``celosia demo | run | simulate | generate | list``."""

import sys

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> None:
    """Run a command and exit with its code.

    Parameters
    ----------
    arguments : list of str or None
        Without the program's name; None: those of this process.
    """
    try:
        from celosia.host.cli.app import execute
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(execute(sys.argv[1:] if arguments is None else arguments))
