"""Products over packed weights, on CPUs and on CUDA."""
