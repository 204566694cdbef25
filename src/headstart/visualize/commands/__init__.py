"""What `headstart visualize MODEL_OR_RUN` can show, one file each: its arguments, and the call that makes pictures."""
