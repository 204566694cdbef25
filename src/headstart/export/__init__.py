"""A trained network as a folder that stands alone: weights, config, model card, ONNX graphs."""
