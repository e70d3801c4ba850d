"""The one exception for input that a person can put right."""


class BadInputError(ValueError):
    """Bad input, told in one line: what it is, what is wrong with it, and what would be right.

    The command line prints the message alone and exits with code 2; every other exception is a fault of ours.
    """
