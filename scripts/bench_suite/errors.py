"""The errors of a benchmark run."""


class BenchError(Exception):
    """The run is not worth a figure: something was lost, closed, refused, crashed or never came."""
