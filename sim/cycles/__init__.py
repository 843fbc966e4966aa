"""Exact cycle counts, broken down by cause, without simulating a cycle."""
