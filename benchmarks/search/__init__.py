"""For the same FLOPs, how good a front does each method of search find? Replays on tables of real runs."""
