"""One file a command. Heavy imports stay inside the functions, so that --help answers at once."""
