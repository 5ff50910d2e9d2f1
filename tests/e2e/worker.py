"""A process that loads Odoo once and forks a child for every job it is told.

One line of JSON on standard input is a job, one on standard output what came of it:
``{"code": "..."}`` runs Python with ``env`` and commits; ``{"trigger": xmlid}`` runs a
scheduled action as Odoo's own worker does, with its commits. With
``"kill": [n, point]`` the child kills itself at its n-th API call, ``before`` it is
sent or when it is ``answered``; at the point ``applied`` the simulator kills it.
"""

import gc
import json
import os
import signal
import sys
import time

import psycopg2
import requests


def main(config, database):
    from odoo import sql_db
    from odoo.modules.registry import Registry
    from odoo.tools import config as settings

    settings.parse_config(["--config", config, "--database", database])
    registry = Registry(database)
    warm_up(registry)
    # Forked children must not share the parent's connections.
    sql_db.close_all()
    # Else the garbage collector of each child writes to, and so copies, all of it.
    gc.collect()
    gc.freeze()
    say({"ready": True})
    for line in sys.stdin:
        job = json.loads(line)
        pid = os.fork()
        if not pid:
            os._exit(child(registry, job))
        say({"pid": pid})
        _pid, status = os.waitpid(pid, 0)
        code = os.waitstatus_to_exitcode(status)
        if code < 0:
            wait_for_release(database)
        say({"exit": code})


def warm_up(registry):
    """Let Odoo work out what it does at a first write, for all jobs: which fields
    depend on which, for instance. What it knows of the database it forgets again.
    """
    from odoo import SUPERUSER_ID, api

    with registry.cursor() as cr:
        env = api.Environment(cr, SUPERUSER_ID, {})
        partner = env["res.partner"].create({"name": "A", "email": "a@firma.be"})
        partner.write({"email": "b@firma.be", "city": "Ghent", "active": False})
        partner.read()
        env.flush_all()
        cr.rollback()
    registry.clear_all_caches()


def say(message):
    print(json.dumps(message), flush=True)


def wait_for_release(database):
    """Wait until PostgreSQL has seen that the child is dead, and let go of its locks.

    It does so within a moment, but a job that is started in that moment is turned away.
    """
    connection = psycopg2.connect(dbname=database)
    connection.autocommit = True
    with connection.cursor() as cursor:
        others = True
        while others:
            cursor.execute(
                "SELECT COUNT(*) FROM pg_stat_activity WHERE datname ="
                " current_database() AND backend_type = 'client backend'"
                " AND pid <> pg_backend_pid()"
            )
            (others,) = cursor.fetchone()
            time.sleep(0.01 if others else 0)
    connection.close()


def child(registry, job):
    from odoo import SUPERUSER_ID, api, sql_db

    try:
        if "kill" in job:
            kill_at(*job["kill"])
        with registry.cursor() as cr:
            env = api.Environment(cr, SUPERUSER_ID, {})
            if "code" in job:
                exec(job["code"], {"env": env})
            else:
                # What goes wrong inside is an answer for the browser, no exception.
                assert env.ref(job["trigger"]).method_direct_trigger() is True
        return 0
    except Exception:
        import traceback

        traceback.print_exc()
        return 1
    finally:
        sql_db.close_all()


def kill_at(number, point):
    original = requests.Session.send
    calls = 0

    def send(session, request, **options):
        nonlocal calls
        calls += 1
        mine = calls == number
        if mine and point == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        response = original(session, request, **options)
        if mine and point == "answered":
            os.kill(os.getpid(), signal.SIGKILL)
        return response

    requests.Session.send = send


if __name__ == "__main__":
    main(*sys.argv[1:])
