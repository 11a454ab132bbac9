"""How quickly a server answers, and what it takes when nobody asks."""
