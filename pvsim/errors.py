"""The errors that a user can cause. Each is a sentence: what is wrong, where, and what to do about it."""

from __future__ import annotations


class PvsimError(Exception):
    """Ends a command with `exit_status`; `str()` of it is what the user reads."""

    exit_status = 1


class ConfigError(PvsimError):
    """A setting that cannot be used; 78 is EX_CONFIG of sysexits.h, after which systemd does not restart."""

    exit_status = 78


class UsageError(ConfigError):
    """A command line that cannot be used; 2 is what argparse ends with, too."""

    exit_status = 2


class IdError(UsageError):
    """A text that is no meter id. In a configuration file, whoever reads that makes a ConfigError of it."""


class NotAReading(PvsimError):  # noqa: N818 - it reads as what it says
    """A message that is no reading; the text is the reason, for whoever looks at what was set aside."""


class DayFileError(PvsimError):
    """A day file that cannot be written now; its messages stay in the queue."""


class ProgressError(PvsimError):
    """A progress file that cannot be used."""


class BrokerError(PvsimError):
    """The broker refused or cannot be reached."""
