"""Searches: the space, the trials that a study's folder holds, what is tried next, and which run is pruned."""
