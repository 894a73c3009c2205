"""The one exception that means: the input was wrong, and here is what to do."""


class InputError(ValueError):
    """Bad input. The message is one sentence that says what is wrong and what to do."""
