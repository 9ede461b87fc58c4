"""The verbs of a protocol: compute, send, evaluate, now; and what stands behind them."""
