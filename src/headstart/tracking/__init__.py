"""What a run tells while it goes: metrics.csv and Weights & Biases."""
