"""What a generated folder holds beside its Verilog: testbench, vectors, C header, build files, and a description."""
