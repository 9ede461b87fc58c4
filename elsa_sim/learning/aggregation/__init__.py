"""How adapters of several clients become one: means, robust rules, server optimizers, semantic alignment."""
