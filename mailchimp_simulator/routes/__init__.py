"""The endpoints. Importing this package registers them all."""

from . import (
    activity,
    batches,
    campaigns,
    fields,
    lists,
    members,
    recipients,
    reports,
    root,
    segments,
    webhooks,
)

__all__ = [
    "activity",
    "batches",
    "campaigns",
    "fields",
    "lists",
    "members",
    "recipients",
    "reports",
    "root",
    "segments",
    "webhooks",
]
