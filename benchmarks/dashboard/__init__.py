"""How quickly the dashboard shows what changes, and pictures of it."""
