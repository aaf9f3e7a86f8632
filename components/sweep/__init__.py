"""How far: the most that each method can remove within a budget."""
