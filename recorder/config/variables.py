"""Names of environment variables that the commands read and the server does not: they are no settings."""

from __future__ import annotations

URL_VARIABLE = "RECORDER_URL"
"""The recorder that commands speak to."""

TOKEN_VARIABLE, TOKEN_FILE_VARIABLE = "RECORDER_TOKEN", "RECORDER_TOKEN_FILE"
"""The token that commands show to it, or a file that holds it."""
