"""Where things are, and how the tools report to the user."""

import os
import signal
import sys
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
ENV = REPOSITORY / ".env"
CACHE = (
    Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "crm_mailchimp"
)
ADDON = REPOSITORY / "crm_mailchimp"
WEBSITE_ADDON = REPOSITORY / "crm_mailchimp_website"
STARTED = time.monotonic()


class SetupError(Exception):
    """Something is unavailable; the message is a sentence that says what to do."""


def say(line):
    """Print a progress line with the seconds since the start."""
    print(f"[{time.monotonic() - STARTED:6.1f} s] {line}", flush=True)


def main(function):
    """Run a tool; a ``SetupError`` is printed as a sentence, without a traceback.

    Closing the terminal ends it as Ctrl-C does, with the servers it started.
    """
    for ending in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(ending) == signal.SIG_DFL:  # nohup has it ignored
            signal.signal(ending, signal.default_int_handler)
    try:
        sys.exit(function())
    except SetupError as error:
        print(f"\n{error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
