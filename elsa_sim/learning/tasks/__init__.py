"""Tasks: where texts and their classes come from. One file here that defines a `Task` is one more ``task.kind``."""
