"""Take away: the pruned model as files."""
