"""Sources: adapters that turn the logs of others into deltas. Pure: bytes in, deltas and errors out."""

from recorder.bridges.imports.records import SourceDelta, SourceItem, SourceOptions
from recorder.bridges.imports.registry import FORMATS, Format, open_source
from recorder.demo.sessions import demo_deltas

__all__ = ["FORMATS", "Format", "SourceDelta", "SourceItem", "SourceOptions", "demo_deltas", "open_source"]
