"""Measurements of whole processes against the floor, as ratios in one run."""
