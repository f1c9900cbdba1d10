"""The `wsss-mm` command: one module per sub-command, heavy imports inside the handlers."""
