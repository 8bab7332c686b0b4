"""placeholder"""


def tail() -> None:
    """Follow."""
