"""Zero-shot questions, asked of the dense and the pruned models."""
