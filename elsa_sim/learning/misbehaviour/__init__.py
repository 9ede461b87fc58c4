"""Misbehaving (Byzantine) clients: what they hand on in place of what they trained."""
