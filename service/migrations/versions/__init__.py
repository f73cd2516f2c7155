"""One revision a file; the chain is in ``down_revision``."""
