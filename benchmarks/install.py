"""What installing, updating and uninstalling cost where there are many contacts.

Meanwhile a salesperson keeps reading one contact and saving another; the longest wait
shows how long a lock held them up.
"""

import sys
import time
from threading import Event, Thread

import psycopg2

from . import lists

MODULE = "crm_mailchimp"
PAUSE = 0.02  # seconds between two statements
READ = "SELECT name FROM res_partner WHERE id = 1"
SAVE = "UPDATE res_partner SET write_date = write_date WHERE id = 1000001"
# Run at the end of a script, so that its process reports its own peak memory.
PEAK = """
from benchmarks import peak
print("PEAK", peak())
"""
UNINSTALL = f"""
env["ir.module.module"].search([("name", "=", "{MODULE}")]).button_immediate_uninstall()
{PEAK}
"""


class Salesperson:
    """Reads a contact and saves another, again and again, until the block is left.

    ``waits`` holds the longest each of the two took, in seconds.
    """

    def __init__(self, environment):
        self.connection = {
            "host": environment.postgres.host,
            "port": environment.postgres.port,
            "user": environment.postgres.user,
            "password": environment.postgres.password,
            "dbname": lists.DATABASE,
        }
        self.leaves, self.waits = Event(), {}

    def __enter__(self):
        self.threads = [
            Thread(target=self.repeat, args=one)
            for one in (("read", READ), ("save", SAVE))
        ]
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *exc_info):
        self.leaves.set()
        for thread in self.threads:
            thread.join()

    def repeat(self, name, statement):
        connection = psycopg2.connect(**self.connection)
        connection.autocommit = True
        try:
            while not self.leaves.wait(PAUSE):
                started = time.monotonic()
                connection.cursor().execute(statement)
                waited = time.monotonic() - started
                self.waits[name] = max(self.waits.get(name, 0), waited)
        finally:
            connection.close()


def measure(environment, contacts, only):
    """Install with few contacts, then with many; update and uninstall with many.

    :param only: *lists*, *install*, or None for both; they share a database
    """
    figures = {}
    if only != "lists":
        figures["install, one contact"] = prepare(environment, 1)
    figures["install"] = prepare(environment, contacts)
    lists.fill(environment)
    if only != "install":
        lists.measure(environment, contacts)
    if only != "lists":
        idle = peak(environment, PEAK)
        update = timed(environment, f"--update={MODULE}", "--stop-after-init")
        uninstall = timed(environment, script=UNINSTALL)
        figures |= {"update": update, "uninstall": uninstall}
        tell(figures, contacts)
        print(f"  uninstall, peak above idle   {peak(environment) - idle:7.0f} MB")
    sys.stdout.flush()
    environment.drop_database(lists.DATABASE)


def tell(figures, contacts):
    print(f"\n{contacts} contacts")
    for name, (seconds, waits) in figures.items():
        print(
            f"  {name:<28} {seconds:7.1f} s, longest wait to read a contact"
            f" {waits['read']:.1f} s, to save one {waits['save']:.1f} s"
        )


def prepare(environment, contacts):
    """Make a database with Odoo's own modules and contacts, and install the add-on.

    :return: as for :func:`timed`
    """
    environment.clone_database(environment.base_database(), lists.DATABASE)
    lists.add_contacts(environment, contacts)
    return timed(environment, f"--init={MODULE}", "--stop-after-init")


def log(environment):
    return environment.config.with_name("bench.install.log")


def timed(environment, *arguments, script=None):
    """Run Odoo while a salesperson is at work.

    :return: ``(seconds, waits of the salesperson)``
    """
    with Salesperson(environment) as salesperson:
        started = time.monotonic()
        arguments = (f"--database={lists.DATABASE}", "--no-http", *arguments)
        environment.odoo(*arguments, log=log(environment), script=script)
        seconds = time.monotonic() - started
    return seconds, salesperson.waits


def peak(environment, script=None):
    """Return the peak memory in MB of the last script, or of this one once run."""
    if script:
        timed(environment, script=script)
    lines = log(environment).read_text().splitlines()
    return float([line for line in lines if line.startswith("PEAK")][-1].split()[1])
