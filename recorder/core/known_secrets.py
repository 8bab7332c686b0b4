"""How secrets are usually named and what they look like: what `default` stands for in the settings of redaction."""

from __future__ import annotations

DEFAULT_KEYS = (
    "password", "passwd", "passphrase", "secret", "client_secret", "clientsecret", "token", "access_token",
    "accesstoken", "refresh_token", "refreshtoken", "id_token", "idtoken", "auth_token", "authtoken", "api_key",
    "apikey", "api-key", "x-api-key", "private_key", "privatekey", "authorization", "proxy-authorization", "cookie",
    "set-cookie", "credentials", "connection_string", "connectionstring",
)  # fmt: skip
"""What `default` stands for in REDACT_KEYS."""

# A publisher chooses what is searched, so none of them may read the same text from many beginnings: what follows a
# beginning is short, or ends where the next one can begin.
DEFAULT_PATTERNS = (
    r"\bsk-[A-Za-z0-9_-]{20,}",
    r"\bgh[pousr]_[A-Za-z0-9]{36,}",
    r"\bgithub_pat_[A-Za-z0-9_]{40,}",
    r"\bxox[abprs]-[A-Za-z0-9-]{10,}",
    r"\bA(?:KIA|SIA)[0-9A-Z]{16}\b",
    r"\bAIza[0-9A-Za-z_-]{35}",
    r"\beyJ[A-Za-z0-9_-]{10,1000}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]+",
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----[^-]*(?:-{1,4}[^-]+)*-{5,}END [A-Z ]*PRIVATE KEY-----",
)
"""What `default` stands for in REDACT_PATTERNS: how well-known keys and tokens look."""
