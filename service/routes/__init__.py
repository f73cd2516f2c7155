"""What can be asked over HTTP: one file per noun, each with its ``router``."""
