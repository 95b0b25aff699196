"""How long attention takes beyond its work: whole waves of tiles, and the kernels that a library chooses."""
