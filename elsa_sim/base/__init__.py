"""What every room uses: errors, units, random streams, intervals, and the registry of components."""
