"""Readers: a model file becomes a list of layers."""
