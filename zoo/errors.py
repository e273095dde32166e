"""The errors a user can meet. Each one carries the exit code of the command line."""


class ZooError(Exception):
    """Something a user can act on: the message says what, where, which value, and what is legal."""

    exit_code = 1


class BadInputError(ZooError, ValueError):
    """A value of a recipe, an option or a data set is not legal."""

    exit_code = 2


class DivergedError(BadInputError):
    """The loss became NaN or infinite; the settings of the recipe do not train."""


class NotFoundError(ZooError, LookupError):
    """A learngene, an alias, a folder or a server that was asked for is not there."""

    exit_code = 3


class IntegrityError(ZooError):
    """An artifact is damaged, foreign, of a newer schema, or could not be written whole."""

    exit_code = 4


class DiskFullError(IntegrityError):
    """There was no space left; what was there before is whole."""


class GateRefusedError(ZooError):
    """A promotion gate said no."""

    exit_code = 5
