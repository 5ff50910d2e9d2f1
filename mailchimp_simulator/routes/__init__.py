"""The endpoints. Importing this package registers them all."""

from . import (
    batches,
    campaigns,
    fields,
    lists,
    members,
    reports,
    root,
    segments,
    webhooks,
)

__all__ = [
    "batches",
    "campaigns",
    "fields",
    "lists",
    "members",
    "reports",
    "root",
    "segments",
    "webhooks",
]
