"""The loggers of a run: metrics.csv and Weights & Biases."""
