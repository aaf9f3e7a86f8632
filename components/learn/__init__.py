"""Learn: pruning by hand on a small matrix."""
