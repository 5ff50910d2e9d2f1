"""``make demo``: Odoo with demo contacts, connected to a simulated Mailchimp."""

import os
import socket
import subprocess
import time
import urllib.error
import urllib.request

from .demo_story import StoryError, tell
from .instance import Environment, Instance
from .paths import ENV, REPOSITORY, SetupError, main, say
from .postgres import free_port

DATABASE = "crm_mailchimp_demo"
# The simulated Mailchimp's state, which belongs to that database.
STATE = ENV / "simulator.json"


def run():
    odoo_port = _port("ODOO_PORT", "8069")
    simulator_port = _port("SIMULATOR_PORT", "8091")
    with Environment() as environment:
        return _play(environment, odoo_port, simulator_port)


def _database(environment):
    stamp, digest = ENV / "demo.stamp", environment.addon_digest()
    if not (stamp.exists() and environment.postgres.exists(DATABASE)):
        say("Making the demo database (one or two minutes) …")
        STATE.unlink(missing_ok=True)
        lines = environment.install(DATABASE, demo=True)
    elif stamp.read_text() != digest:
        say("Updating the add-on in the demo database that is there …")
        lines = environment.update(DATABASE)
    else:
        say("Using the demo database that is there (make clean starts anew).")
        lines = []
    for line in lines:
        print(f"  {line}")
    stamp.write_text(digest)


def _play(environment, odoo_port, simulator_port):
    _database(environment)
    simulator = start_simulator(environment, simulator_port, STATE)
    instance = Instance(environment, DATABASE, odoo_port)
    try:
        say("Starting Odoo …")
        instance.start()
        tell(instance, f"http://127.0.0.1:{simulator_port}", say)
        print(
            f"\nOdoo:                {instance.url}  (user admin, password admin;"
            " CRM > Mailing)"
            f"\nSimulated Mailchimp: http://127.0.0.1:{simulator_port}\n"
        )
        if os.environ.get("ONCE"):
            say("All of it worked; stopping everything again.")
            return 0
        print("Both stay up. Ctrl-C stops them.")
        while instance.process.poll() is None and simulator.poll() is None:
            time.sleep(1)
        raise SetupError(f"A server stopped by itself. Odoo's log: {instance.log}")
    except StoryError as error:
        raise SetupError(
            f"The demo failed: {error}\nOdoo's log: {instance.log}"
        ) from None
    finally:
        instance.stop()
        simulator.terminate()
        simulator.wait(10)


def _port(name, default):
    given = os.environ.get(name) or default
    if not (given.isdecimal() and 0 < int(given) < 65536):
        raise SetupError(f"{name}={given} is no port: take a number up to 65535.")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", int(given)))
        except OSError:
            raise SetupError(
                f"Port {given} cannot be had, most likely because a program uses it."
                f" Choose another: make demo {name}={free_port()}"
            ) from None
    return int(given)


def start_simulator(environment, port, state):
    """Start the simulated Mailchimp and return its process once it answers.

    :param state: file in which it keeps its account between starts
    """
    say("Starting the simulated Mailchimp …")
    log = ENV / "simulator.log"
    with open(log, "w") as output:
        process = subprocess.Popen(
            [
                str(environment.python),
                *("-m", "mailchimp_simulator", "--demo", "--port", str(port)),
                *("--state", str(state)),
            ],
            cwd=REPOSITORY,
            stdout=output,
            stderr=output,
        )
    for _attempt in range(100):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5):
                return process
        except (urllib.error.URLError, OSError):
            if process.poll() is not None:
                break
            time.sleep(0.1)
    process.kill()
    raise SetupError(f"The simulator did not come up. Its log is {log}.")


if __name__ == "__main__":
    main(run)
