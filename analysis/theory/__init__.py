"""Closed-form theory of speedup: pure functions of their arguments, each with its equation and source.

Symbols, as everywhere in this folder: p nodes, B global batch, b local batch, M message bytes,
S updates to the target, E samples to the target, a and c fixed and per-sample seconds of a step,
alpha, beta, gamma seconds per message, per byte sent and per byte added.
"""
