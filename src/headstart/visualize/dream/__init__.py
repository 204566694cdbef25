"""DeepDream: what a layer sees in an image, amplified (Mordvintsev, Olah and Tyka 2015)."""
