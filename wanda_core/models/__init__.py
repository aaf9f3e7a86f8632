"""Language models: where they come from, how they are loaded, and which of their layers can be pruned."""
