"""What a model is worth: perplexity and zero-shot questions."""
