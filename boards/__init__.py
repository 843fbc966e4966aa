"""Devices and boards: what a chip holds and how a design is built for it."""
