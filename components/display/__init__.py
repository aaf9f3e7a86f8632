"""How names, numbers and charts look, whichever view shows them."""
