"""The one exception for what a user gave and the project cannot use."""


class InputError(ValueError):
    """Something the user gave cannot be used.

    The message names the argument, the rule, the value that broke it and the way out; programs print it without a
    traceback.
    """
