"""What does pruning cost?"""
