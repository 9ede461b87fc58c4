"""Forward and backward passes of parts of the model, one call at a time or many as one."""
