"""Host: reads, quantizes and compiles models, and drives a device."""
