"""Speed: dense and packed weights timed on this machine."""
