"""One matrix pruned: scores, patterns, masks and updates; knows no model."""
