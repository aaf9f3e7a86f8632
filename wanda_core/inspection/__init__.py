"""One layer laid open: scores, thresholds, masks and how two methods differ."""
