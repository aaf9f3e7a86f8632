"""Questions: how many each model still answers correctly."""
