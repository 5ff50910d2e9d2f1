"""First push and first import of results against their floors, and later runs.

The floor is a bare client that sends the very same bodies, built beforehand, with the
same number of requests in flight, to the same server. Ratios are taken in one run on
one machine; the seconds only show what the ratios are made of.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import local

import requests

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks import install  # noqa: E402
from tools.instance import Environment  # noqa: E402

DATABASE = "crm_mailchimp_bench"
IN_FLIGHT = (4, 8)  # held at four, and the most the add-on uses
SEGMENTS = 20
LATENCIES = {
    "(a) no latency": (0, 0),
    "(b) 200 ms + 2 ms a member": (0.2, 0.002),
}
# With latency, only the waiting is added, and it simply grows with the number of calls.
MOST_WITH_LATENCY = 100_000
MOST_RECIPIENTS = 100_000  # of one campaign
OLD_CAMPAIGNS = 1500
PAGE_SECONDS = {"(a) no latency": 0, "(b) 300 ms a page": 0.3}


class Server:
    """The canned server, in a process of its own."""

    def __init__(
        self,
        python,
        folder,
        base,
        per_member,
        record="",
        recipients=0,
        old=0,
        members=0,
    ):
        port_file = folder / "port"
        port_file.unlink(missing_ok=True)
        self.process = subprocess.Popen(
            [
                str(python),
                *("-m", "benchmarks.canned", str(port_file)),
                *map(str, (base, per_member, record, recipients, old, members)),
            ],
            cwd=Path(__file__).parents[1],
        )
        while not port_file.exists() or not port_file.read_text():
            time.sleep(0.05)
        self.url = f"http://127.0.0.1:{port_file.read_text()}/3.0"

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.process.kill()
        self.process.wait()


def push(environment, what, url="", in_flight=8):
    script = Path(__file__).with_name("push.py")
    result = subprocess.run(
        [
            str(environment.python),
            *(str(script), str(environment.config), DATABASE),
            *(what, url, str(in_flight)),
        ],
        env=environment.environment(),
        capture_output=True,
        text=True,
    )
    if result.returncode:
        sys.exit(result.stderr[-3000:])
    figures = json.loads(result.stdout.splitlines()[-1])
    if figures["state"] not in ("done", ""):
        sys.exit(f"The run is {figures['state']}:\n{result.stderr[-3000:]}")
    return figures


def floor(url, bodies, in_flight):
    """Send the bodies with a bare client and return the seconds it took."""
    sessions = local()

    def send(body):
        if not hasattr(sessions, "session"):
            sessions.session = requests.Session()
        reply = sessions.session.post(
            f"{url}/lists/canned",
            data=body,
            headers={"Content-Type": "application/json"},
            timeout=60,
        )
        reply.raise_for_status()
        return len(reply.content)

    start = time.monotonic()
    with ThreadPoolExecutor(in_flight) as pool:
        list(pool.map(send, bodies))
    return time.monotonic() - start


def prepare(environment, contacts):
    """Make a database with so many contacts, and with flagged filters."""
    template, _complaints = environment.addon_database()
    environment.clone_database(template, DATABASE)
    sql = environment.postgres.sql
    columns = [
        name
        for (name,) in sql(
            "SELECT column_name FROM information_schema.columns"
            " WHERE table_name = 'res_partner'",
            DATABASE,
        )
    ]
    own = {
        "id": "nextval('res_partner_id_seq')",
        "name": "'First' || n || ' Last' || n",
        "complete_name": "'First' || n || ' Last' || n",
        "email": "'p' || n || '@firm' || n % 1000 || '.example.net'",
        "email_normalized": "'p' || n || '@firm' || n % 1000 || '.example.net'",
        "city": "'City ' || n % 50",
        "is_company": "n % 10 = 0",
        "mailchimp_opt_in": "TRUE",
        "mailchimp_opt_in_date": "'2026-01-01'::timestamp",
        "country_id": "(SELECT id FROM res_country WHERE code = 'BE')",
        "active": "TRUE",
        "user_id": "NULL",
        "company_id": "NULL",
    }
    sql(
        f"INSERT INTO res_partner ({', '.join(columns)})"
        f" SELECT {', '.join(own.get(name, f'p.{name}') for name in columns)}"
        f" FROM res_partner p, generate_series(1, {contacts}) n"
        " WHERE p.id = (SELECT partner_id FROM res_company ORDER BY id LIMIT 1)",
        DATABASE,
    )
    for number in range(SEGMENTS):
        sql(
            "INSERT INTO ir_filters (name, model_id, domain, context, sort, active,"
            " mailchimp_sync, mailchimp_owner_id) SELECT"
            f" 'Segment {number}', 'res.partner',"
            f" '[(\"city\", \"=\", \"City {number}\")]', '{{}}', '[]',"
            " TRUE, TRUE, id"
            " FROM res_users WHERE login = 'admin'",
            DATABASE,
        )
    sql("ANALYZE", DATABASE)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--contacts", type=int, default=100_000)
    parser.add_argument("--only", choices=("push", "stats", "lists", "install"))
    options = parser.parse_args()
    with Environment() as environment, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        latencies = LATENCIES if options.only in (None, "push") else {}
        for title, latency in latencies.items():
            if latency[0] and options.contacts > MOST_WITH_LATENCY:
                continue
            measure(environment, folder, title, latency, options.contacts)
        latencies = PAGE_SECONDS if options.only in (None, "stats") else {}
        for title, seconds in latencies.items():
            if seconds and options.contacts > MOST_WITH_LATENCY:
                continue
            recipients = min(options.contacts, MOST_RECIPIENTS)
            measure_results(environment, folder, title, seconds, recipients)
            measure_history(environment, folder, title, seconds)
        environment.drop_database(DATABASE)
        if options.only in (None, "lists", "install"):
            install.measure(environment, options.contacts, options.only)


def measure(environment, folder, title, latency, contacts):
    """Measure a first push, a run with nothing to do, and one changed contact."""
    record = folder / title.split()[0].strip("()")
    record.mkdir()
    for in_flight in IN_FLIGHT if latency[0] else IN_FLIGHT[-1:]:
        prepare(environment, contacts)
        idle = push(environment, "idle")["peak"]
        files = record if not any(record.iterdir()) else ""
        with Server(environment.python, folder, *latency, files) as server:
            first = push(environment, "link", server.url, in_flight)
            environment.postgres.sql("VACUUM ANALYZE", DATABASE)
            (nothing, quiet), (changed, few) = (
                counted(environment, server, what) for what in ("push", "change")
            )
        bodies = (path.read_bytes() for path in sorted(record.glob("*.json")))
        with Server(environment.python, folder, *latency) as server:
            bare = floor(server.url, bodies, in_flight)
        copied = push(environment, "copy")["wall"]
        calls = len(list(record.iterdir()))
        print(f"\n{title}: {contacts} contacts, {SEGMENTS} segments")
        print(f"  {calls} calls of 500, at most {in_flight} at once")
        print(f"  floor: bare client     {bare:8.1f} s")
        print(f"  floor: COPY of rows    {copied:8.1f} s")
        print(f"  first push             {first['wall']:8.1f} s")
        print(f"  ratio to the client    {first['wall'] / bare:8.2f}")
        print(f"  ratio to both          {first['wall'] / (bare + copied):8.2f}")
        print(f"  CPU of Odoo            {first['cpu']:8.1f} s")
        print(f"  peak above idle        {first['peak'] - idle:8.0f} MB")
        for figures, number, what in (
            (nothing, quiet, "nothing to do"),
            (changed, few, "one contact changed"),
        ):
            print(
                f"  {what:<22} {figures['wall']:8.1f} s, {number} calls,"
                f" CPU {figures['cpu']:.1f} s,"
                f" peak {figures['peak'] - idle:.0f} MB above idle"
            )
        sys.stdout.flush()


def measure_results(environment, folder, title, seconds, recipients):
    """Measure a campaign of so many recipients, three events each, then 1,000 more."""
    prepare(environment, recipients)
    sql = environment.postgres.sql
    idle = push(environment, "idle")
    with Server(environment.python, folder, seconds, 0, "", recipients) as server:
        push(environment, "link", server.url)  # every contact becomes a member
        sql("ANALYZE", DATABASE)
        bare = push(environment, "floor", server.url)
        sql("DELETE FROM crm_mailchimp_campaign", DATABASE)
        sql("VACUUM ANALYZE", DATABASE)
        first, calls = counted(environment, server)
        figures = []
        for drops_idle in (False, True):
            news = 1000 + drops_idle
            body = {"news": news, "drops_idle": drops_idle}
            requests.post(f"{server.url}/refresh", json=body, timeout=60)
            sql("UPDATE crm_mailchimp_campaign SET next_poll = NOW()", DATABASE)
            figures.append(counted(environment, server))
        events = sql("SELECT COUNT(*) FROM crm_mailchimp_recipient_event", DATABASE)
        nothing, few = counted(environment, server)
    print(f"\n{title}: a campaign of {recipients}, in the end {events[0][0]} events")
    print(f"  floor (fetch, insert)  {bare['wall']:8.1f} s")
    print(f"  first import           {first['wall']:8.1f} s, {calls} calls")
    print(f"  ratio                  {first['wall'] / bare['wall']:8.2f}")
    print(f"  CPU of Odoo            {first['cpu']:8.1f} s, floor {bare['cpu']:.1f} s")
    print(f"  peak above idle        {first['peak'] - idle['peak']:8.0f} MB")
    for (figure, calls), what in zip(figures, ("listed", "left out"), strict=True):
        print(f"  1,000 new events, idle recipients {what}:")
        print(f"                         {figure['wall']:8.1f} s, {calls} calls")
    print(f"  nothing due            {nothing['wall']:8.1f} s, {few} calls", flush=True)


def measure_history(environment, folder, title, seconds):
    """Measure the first import of many old campaigns, until all have totals.

    The recipients of each follow, in later slices.
    """
    prepare(environment, 100)
    sizes = ("", 1000, OLD_CAMPAIGNS)
    with Server(environment.python, folder, seconds, 0, *sizes) as server:
        push(environment, "link", server.url)
        figures = push(environment, "totals", server.url)
    print(f"\n{title}: the first import of {OLD_CAMPAIGNS} old campaigns")
    print(f"  totals of all          {figures['wall']:8.1f} s")
    print(f"  longest slice          {figures['longest']:8.1f} s", flush=True)


def counted(environment, server, what="stats"):
    before = requests.get(f"{server.url}/calls", timeout=60).json()
    figures = push(environment, what)
    return figures, requests.get(f"{server.url}/calls", timeout=60).json() - before


if __name__ == "__main__":
    main()
