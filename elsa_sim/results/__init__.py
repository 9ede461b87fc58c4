"""What a run leaves: the event table, metrics, figures, traces."""
