"""Let serving go first where it shares its cores with the worker."""

import os
from contextlib import suppress
from pathlib import Path

AUTOGROUP = Path("/proc/self/autogroup")


def stand_back(niceness: int) -> None:
    """Lower this process's priority to `niceness`, as `nice` counts it, before it has threads: they inherit it.

    Linux may share the cores out by session first (sched(7), autogroups): there niceness counts among the processes
    of one session only, and it is the session's own that must be lowered. Never raises a priority.
    """
    os.nice(max(0, niceness - os.nice(0)))
    with suppress(OSError):  # no such file: niceness counts among all processes
        if niceness > int(AUTOGROUP.read_text().split()[-1]):  # */autogroup-1680 nice 0*
            AUTOGROUP.write_text(str(niceness))
