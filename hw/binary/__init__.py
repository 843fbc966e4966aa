"""The binary engine: an XNOR-popcount matrix-vector-threshold unit, folded PE × SIMD as FINN's."""
