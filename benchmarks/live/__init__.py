"""Real searches on a text that has no table: ours by the command, peers with real training in place of a lookup."""
