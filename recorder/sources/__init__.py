"""Sources: adapters that turn the logs of others into deltas. Pure: bytes in, deltas and errors out."""

from recorder.sources.demo import demo_deltas
from recorder.sources.formats import FORMATS, Format, open_source
from recorder.sources.records import SourceDelta, SourceItem, SourceOptions

__all__ = ["FORMATS", "Format", "SourceDelta", "SourceItem", "SourceOptions", "demo_deltas", "open_source"]
