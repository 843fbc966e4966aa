"""EIE-style sparse engine: pruned, codebook-compressed layers on N processing elements."""
