"""Split policies: how many layers stay on each client. One file, one policy; it registers itself."""
