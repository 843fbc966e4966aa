"""Hardware: configs, protocol, and the accelerators in Amaranth HDL."""
