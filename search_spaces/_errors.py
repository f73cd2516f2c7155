"""What a user can get wrong, as one kind of exception that commands and routes know how to show."""


class ParetrackError(ValueError):
    """Something outside the program is wrong: a file, a value, a name.

    The message says what was got, what was expected and what to do. Commands print it without a
    traceback; anything else that escapes is a bug and keeps its traceback.
    """


class ArchitectureError(ParetrackError):
    """An architecture that cannot be built."""
