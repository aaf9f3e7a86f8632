"""Results: what pruning costs in perplexity, and layer by layer."""
