"""From YAML to models: bounded, strict, with errors that name file, field and what was expected."""
