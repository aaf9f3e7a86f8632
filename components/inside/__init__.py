"""Inside: one layer's scores and masks, weight by weight."""
