"""The RTL under Verilator, or under the Amaranth simulator where there is no C++ compiler."""
