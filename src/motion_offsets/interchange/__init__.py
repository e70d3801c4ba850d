"""Weights and graphs of other programs: published checkpoints, ONNX."""
