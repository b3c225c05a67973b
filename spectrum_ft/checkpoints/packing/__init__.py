"""Quantized weights: which stored tensors make up one, and how its values come out of them."""
