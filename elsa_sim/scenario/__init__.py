"""The scenario file: document, reader, model, validation, dump, schema."""
