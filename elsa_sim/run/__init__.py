"""A run's life: check, build, simulate; cost inputs and memory."""
