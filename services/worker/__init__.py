"""The driver of a search, and what keeps it the only one."""
