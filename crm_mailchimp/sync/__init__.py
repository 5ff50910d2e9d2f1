"""What runs are made of: phases that work on a run in slices of time."""
