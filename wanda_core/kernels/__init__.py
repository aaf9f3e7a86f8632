"""Formats for pruned weights and products over them: 2:4 on the CPU through numba, on CUDA through torch."""
