"""Work and when its arithmetic runs: executors, the batching scheduler, worker pools."""
