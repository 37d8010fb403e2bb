"""What is known of a day file, kept beside it, so that who opens a full one reads its ends and not all of it.

It is the extended attribute `user.pvsim.known`, set with each commit: the size, when the file was last written, when
the attribute was set, and where its stretches begin (see contents.py). It counts only where nothing has touched the
file since: the size and the time of the last write have to be those, and the inode must not have changed after the
attribute was set (ctime, which nobody can set back). So a file that was edited in place, cut, extended, moved, copied
or given other rights is read as a whole, once. That holds on file systems whose times are known to be those of the
kernel here. It saves time and nothing else: where there are no attributes, or no room for them, each file is
read as a whole.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import suppress

ATTRIBUTE = "user.pvsim.known"
MOST_STRETCHES = 8  # so that it mostly has room in the inode itself
_VERSION = 1
_SLACK_NS = 10**8  # the kernel's clock for files ticks every few ms, and a busy machine may come between


def tell(fd: int, size: int, written_ns: int, starts: Sequence[int]) -> None:
    """Set the attribute of an open file of this size, last written at this moment, whose stretches begin there."""
    if len(starts) <= MOST_STRETCHES:
        numbers = (_VERSION, size, written_ns, time.time_ns(), *starts)
        with suppress(OSError):
            os.setxattr(fd, ATTRIBUTE, " ".join(map(str, numbers)).encode())


def recall(fd: int, status: os.stat_result) -> list[int] | None:
    """Where the stretches of an open file begin, if nothing has touched it since that was told; or None."""
    try:
        version, size, written_ns, told_ns, *starts = map(int, os.getxattr(fd, ATTRIBUTE).split())
    except (OSError, ValueError):
        return None
    is_untouched = size == status.st_size and written_ns == status.st_mtime_ns
    is_of_then = abs(status.st_ctime_ns - told_ns) <= _SLACK_NS
    return starts if version == _VERSION and is_untouched and is_of_then else None
