"""What headstart promises about time and memory, measured as whole processes: `python -m benchmarks`."""
