"""What tells, without reading it, that a version on the disk is another than it was."""

import os
import pathlib


def identity(directory: pathlib.Path) -> tuple | None:
    """What a SavedModel is told from another one by, in the same folder or a new one; None while there is none.

    Its folder's inode would not do: a file system may give the number of one that was removed to the next. And each
    export writes `saved_model.pb` at its end, so that a version whose files go one by one is not taken for a new one.
    """
    try:
        stat = (directory / 'saved_model.pb').stat()
    except OSError:
        return None
    return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns


def files(directory: pathlib.Path) -> int | None:
    """A number for all its files as they are, their permissions included; None while they change.

    A list of them would do, but for many files it sets off a full garbage collection, for which all threads wait.
    """
    number = 0
    try:
        for folder, folders, names in os.walk(directory):
            for name in folders + names:
                path = pathlib.Path(folder, name)
                stat = path.stat()
                number ^= hash((str(path), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns))
    except OSError:
        return None
    return number
