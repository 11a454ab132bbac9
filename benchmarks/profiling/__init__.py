"""What a step needs, as it was predicted and as it is: predictions are held against real steps of candidates that no
profile has seen."""
