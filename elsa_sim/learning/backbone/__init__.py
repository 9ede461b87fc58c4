"""The frozen transformer: its architecture, adapters, parts, FLOPs and memory."""
