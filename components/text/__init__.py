"""Text: what the pruned models write."""
