"""A benchmark of FLGo, which wants a package with a module `core` for every data set: see peers/flgo.py."""
