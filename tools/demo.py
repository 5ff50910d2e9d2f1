"""``make demo``: Odoo with demo contacts beside a simulated Mailchimp, connected."""

import os
import socket
import subprocess
import time
import urllib.error
import urllib.request

from .demo_story import StoryError, tell
from .instance import Environment, Instance
from .paths import ENV, REPOSITORY, SetupError, main, say

DATABASE = "crm_mailchimp_demo"


def run():
    odoo_port = int(os.environ.get("ODOO_PORT") or "8069")
    simulator_port = int(os.environ.get("SIMULATOR_PORT") or "8091")
    for name, port in (("ODOO_PORT", odoo_port), ("SIMULATOR_PORT", simulator_port)):
        _check_free(name, port)
    with Environment() as environment:
        return _play(environment, odoo_port, simulator_port)


def _database(environment):
    stamp, digest = ENV / "demo.stamp", environment.addon_digest()
    if not (stamp.exists() and environment.postgres.exists(DATABASE)):
        say("Making the demo database (one or two minutes) …")
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
    simulator = _start_simulator(environment, simulator_port)
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


def _check_free(name, port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            raise SetupError(
                f"Port {port} is in use. Choose another: make demo {name}=1{port}"
            ) from None


def _start_simulator(environment, port):
    say("Starting the simulated Mailchimp …")
    log = ENV / "simulator.log"
    with open(log, "w") as output:
        process = subprocess.Popen(
            [
                str(environment.python),
                *("-m", "mailchimp_simulator", "--demo", "--port", str(port)),
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
