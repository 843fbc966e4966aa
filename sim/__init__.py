"""Simulation: golden models, cycle models, and the RTL under Verilator."""
