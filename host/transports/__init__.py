"""Transports: how packets reach a device."""
