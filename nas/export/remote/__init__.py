"""Code that goes with an export that no family of `transformers` computes. It is copied as it is and needs no `nas`."""
