"""Packers: tensors become memory words in the order an engine wants them."""
