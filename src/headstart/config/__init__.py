"""The config: its schema, its keys, its checks, and what it builds by name."""
