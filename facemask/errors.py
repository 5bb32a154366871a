"""The exception that the scripts turn into an error message."""


class FacemaskError(Exception):
    """An input that can't be used: a file, a value, or a combination of options.

    The message is one line that names the path or value, what was expected and what was found. The
    scripts print it after `[ERROR]` and exit with status 1.
    """
