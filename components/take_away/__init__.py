"""Export: the pruned model to take away."""
