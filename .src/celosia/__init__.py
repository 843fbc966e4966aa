"""Celosia: neural-network accelerators for FPGAs, generated, verified and driven from Python."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("celosia")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+unknown"
