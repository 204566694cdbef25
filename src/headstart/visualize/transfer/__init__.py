"""What fine-tuning changed at each depth: how far weights moved, how alike outputs are, what a rewinding costs."""
