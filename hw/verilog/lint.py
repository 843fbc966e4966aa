"""What of `verilator --lint-only -Wall` does not apply to generated Verilog, and why."""

__all__ = ["LINT_WAIVERS"]

#: Verilator configuration file (``.vlt``) to lint the Verilog with; every line has its reason.
LINT_WAIVERS = """\
`verilator_config
// Registers are declared with the value they have when the FPGA has been configured, and assigned when clocked.
lint_off -rule PROCASSINIT
// Operands of different widths are meant to be extended, by their declared sign, as the language does.
lint_off -rule WIDTHEXPAND
// A module may need a part of a structure that arrives as one port, or the low bits of a sum.
lint_off -rule UNUSEDSIGNAL
// The modules of a design are in one file, which has the name of the top module.
lint_off -rule DECLFILENAME
// A limit that follows from the configuration may make a comparison true, or false, for every value.
lint_off -rule CMPCONST
// Between two clocks, a reset that is synchronous to one of them sets the other's synchronizer at once.
lint_off -rule SYNCASYNCNET
// A name that is free in Verilog may be a keyword of C++, as a port that doubles a sum has; Verilator renames it.
lint_off -rule SYMRSVDWORD
"""
