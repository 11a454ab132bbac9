"""The all-in compute multiplier: what searching is worth against scaling rules alone, with all that was spent.

`multiplier` has the definition, `ladder` the runs of the dial, `searches` the searches by the real command.
"""
