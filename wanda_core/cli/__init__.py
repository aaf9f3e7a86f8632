"""The command line: `wanda-lab prune | compare | check | latency`."""
