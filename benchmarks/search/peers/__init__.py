"""The methods that ours is compared with, each by its own package where there is one.

A peer gets the problem and a seed and gives a trace. All get the same candidates, gate, losses, charges and budget.
"""
