"""The benchmark: everything in one run, interleaved, as ratios."""
