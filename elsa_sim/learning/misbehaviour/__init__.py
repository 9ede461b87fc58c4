"""Misbehaving (Byzantine) clients: what they send in place of what they trained; an attack is one file."""
