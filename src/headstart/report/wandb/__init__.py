"""What W&B shows of a study: a saved view of its runs and a report, and how they are sent."""
