"""A whole model pruned inside one forward pass."""
