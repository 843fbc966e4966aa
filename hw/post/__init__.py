"""Post-processing: bias, requantization, clamp."""
