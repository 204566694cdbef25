"""The config: its schema, its keys, its checks, and the objects that it names."""
