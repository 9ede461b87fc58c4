"""Client selection: who of a server's members takes part in a round; a way to choose is one file. No clock, no tensors."""
