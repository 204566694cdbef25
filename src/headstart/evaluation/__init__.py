"""The numbers of a trained network, and the result of a run."""
