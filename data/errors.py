"""What can go wrong, by who can mend it: bad input is one clear line, the program's own failures are not."""


class InputError(ValueError):
    """Something a user can mend: a config, a file, a table. One line that names it; exit code 2."""


class ConfigError(InputError):
    """A config that cannot be meant: unknown key, value out of bounds, overrides that do not parse."""


class DataError(InputError):
    """Images or tables that cannot be used: missing file, conflicting labels, too few groups."""


class BaseError(InputError):
    """Model weights that cannot be used: not found, not safe to load, made for another model."""


class TrainingError(RuntimeError):
    """Training that failed by itself (a loss that is not a number); what was good until then is kept."""
