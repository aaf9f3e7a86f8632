"""The panel: which model, text, methods and amounts."""
