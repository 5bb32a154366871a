"""The one exception that the scripts turn into a line for the user."""


class FacemaskError(Exception):
    """Something a user gave can't be used.

    The message is one line that names the path or value, what was expected and what was found;
    the scripts print it behind `[ERROR]` and leave with status 1.
    """
