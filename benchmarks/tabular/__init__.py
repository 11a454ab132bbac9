"""Real training runs of every candidate of a small space, so that methods of search can be compared by replay."""
