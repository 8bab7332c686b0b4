"""Adapters that turn logs of other programs into deltas: bytes in, deltas and errors out, no I/O but reading files."""

from recorder.bridges.imports.records import SourceDelta, SourceItem, SourceKnown, SourceOptions
from recorder.bridges.imports.registry import FORMATS, Format, Importer, open_source

__all__ = [
    "FORMATS",
    "Format",
    "Importer",
    "SourceDelta",
    "SourceItem",
    "SourceKnown",
    "SourceOptions",
    "open_source",
]
