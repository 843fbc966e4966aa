"""Exact cycle counts per layer, broken down by cause."""
