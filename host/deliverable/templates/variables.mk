SOURCES = tb/$(TOP)_tb.v $(TOP).v
VECTORS = vectors/requests.hex vectors/answers.hex
# Delays need coroutines of C++20. The others are what Verilator's own configuration finds out, where it had none.
VERILATOR_FLAGS = -CFLAGS -std=c++20 -MAKEFLAGS \
  "CFG_CXXFLAGS_PCH_I=-include CFG_LDLIBS_THREADS=-lpthread VM_PARALLEL_BUILDS=1"
