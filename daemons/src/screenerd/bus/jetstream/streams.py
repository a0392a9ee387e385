"""The streams as configuration has them, made and made again."""

from __future__ import annotations

import structlog
from nats.js import JetStreamContext
from nats.js.api import DiscardPolicy, RetentionPolicy, StorageType, StreamConfig, StreamInfo
from nats.js.errors import NotFoundError

from screenerd.bus.jetstream.settings import BusSettings
from screenerd.bus.jetstream.subjects import STREAM_SUBJECTS, Stream

log = structlog.get_logger("screenerd")


def config_of(stream: Stream, settings: BusSettings) -> StreamConfig:
    """A stream as JetStream is told of it."""
    kept = settings.of(stream)
    return StreamConfig(
        name=stream,
        subjects=list(STREAM_SUBJECTS[stream]),
        retention=RetentionPolicy.LIMITS,
        storage=StorageType(kept.storage),
        discard=DiscardPolicy(kept.discard),
        max_age=kept.max_age,
        max_bytes=kept.max_bytes,
        max_msgs_per_subject=kept.per_subject,
        num_replicas=settings.replicas,
        duplicate_window=min(settings.duplicate_seconds, kept.max_age),
        allow_direct=True,
    )


async def ensure(js: JetStreamContext, settings: BusSettings) -> dict[Stream, StreamInfo]:
    """Every stream, made if it is missing and changed if it is another than configured."""
    found = {}
    for stream in Stream:
        wanted = config_of(stream, settings)
        try:
            info = await js.stream_info(stream)
        except NotFoundError:
            info = await js.add_stream(wanted)
            log.info("stream made", stream=str(stream))
        else:
            if not _same(info.config, wanted):
                info = await js.update_stream(wanted)
                log.info("stream changed", stream=str(stream))
        found[stream] = info
    return found


def _same(found: StreamConfig, wanted: StreamConfig) -> bool:
    names = (
        "subjects", "discard", "max_age", "max_bytes", "max_msgs_per_subject", "num_replicas",
        "duplicate_window", "storage", "retention",
    )  # fmt: skip
    return all(getattr(found, name) == getattr(wanted, name) for name in names)
