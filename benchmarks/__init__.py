"""Measures whole processes against a floor, as ratios within one run."""
