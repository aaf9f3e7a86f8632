"""The command line: `wanda-lab prune | compare | latency`."""
