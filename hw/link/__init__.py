"""Links: packets, CRC and the command processor."""
