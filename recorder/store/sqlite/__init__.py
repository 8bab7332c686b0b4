"""The store in SQLite: memory, file, snapshots, commit log, recovery."""

import recorder.core.logging  # noqa: F401 - commands that use a file are silent, as a library is
