"""``python -m mailchimp_simulator --port 8091 [--demo]``"""

import argparse
import signal
import sys
import threading

from .simulator import Simulator
from .state import DEFAULT_KEY
from .switches import Switches


def demo(simulator):
    """Add an empty audience, with a few campaigns to send later."""
    audience = simulator.add_audience("Odoo demo audience")
    audience.add_campaign("regular", title="Spring news", subject="News for spring")
    audience.add_campaign("plaintext", title="Service notice", subject="We moved")
    audience.add_campaign("variate", title="Which subject?", subject="A or B?")
    return audience


def main(arguments=None):
    parser = argparse.ArgumentParser(
        prog="mailchimp_simulator",
        description="A stateful stand-in for Mailchimp's Marketing API 3.0.",
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8091, help="0 takes a free one")
    parser.add_argument("--key", default=DEFAULT_KEY, help="the owner's API key")
    parser.add_argument("--demo", action="store_true", help="start with demo data")
    parser.add_argument("--state", metavar="FILE", help="keep the account in a file")
    parser.add_argument(
        "--switch",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="set a switch (see README.md); may be repeated",
    )
    options = parser.parse_args(arguments)
    try:
        simulator = Simulator(
            port=options.port,
            host=options.host,
            api_key=options.key,
            state=options.state,
            **dict(_switch(text) for text in options.switch),
        )
        simulator.start()
    except (OSError, ValueError) as error:
        print(f"The simulator cannot start: {error}", file=sys.stderr)
        return 1
    if options.demo and not simulator.account.audiences:
        demo(simulator)
    print(f"Mailchimp simulator: {simulator.root}/")
    print(f"API: {simulator.url}  key: {options.key}")
    for audience in simulator.audiences:
        print(f"Audience: {audience.id}  {audience.name}")
    print("Ready.", flush=True)
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_ignored: ended.set())
    while not ended.wait(10):
        simulator.save()
    simulator.stop()
    return 0


def _switch(text):
    """Split ``name=value``; the value takes the type of the switch's default."""
    name, _equals, value = text.partition("=")
    default = getattr(Switches, name, None)
    if default is None:
        raise ValueError(f"Unknown switch: {name}.")
    if isinstance(default, bool):
        return name, value.lower() in ("1", "true", "on", "yes")
    if isinstance(default, tuple):
        return name, tuple(filter(None, value.split(",")))
    return name, type(default)(value)


if __name__ == "__main__":
    sys.exit(main())
