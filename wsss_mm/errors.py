"""The one error a user can mend."""


class InputError(Exception):
    """Something the user gave is wrong: a file, a row, a parameter.

    The message is one line that names the file or row and the remedy. The command line and the pipeline stages
    print it to stderr and exit with code 2; any other exception is a defect and keeps its traceback.
    """
