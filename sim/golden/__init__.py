"""Bit-exact numpy models of every engine."""
