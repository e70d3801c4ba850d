"""Benchmarks with known answers, and the paper's tables and figures of them."""
