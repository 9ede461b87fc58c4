"""One training system of the literature, one file; each is a SimPy generator over the verbs of the world."""
