"""Other programs that cover a slide with windows, each in an environment of its own; see install.sh."""
