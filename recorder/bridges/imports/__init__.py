"""Adapters that turn logs of other programs into deltas: bytes in, deltas and errors out, no I/O but reading files."""

from recorder.bridges.imports.records import SourceDelta, SourceItem, SourceOptions
from recorder.bridges.imports.registry import FORMATS, Format, open_source

__all__ = ["FORMATS", "Format", "SourceDelta", "SourceItem", "SourceOptions", "open_source"]
