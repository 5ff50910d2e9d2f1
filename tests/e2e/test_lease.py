"""Backups, copies and new names of a database: the audience follows one of them only.

The databases are real, and several of them have the same name, one after the other.
"""

import os
import signal

import pytest

from mailchimp_simulator import Simulator

from .conftest import COPY, DATABASE, READY, Rows, Worker
from .test_kill import LINK, POINTS, PUSH

OPT_OUTS = "crm_mailchimp.ir_cron_opt_out"
REQUEST = """
env["crm.mailchimp.account"].search([])._request_run({kind!r})
"""
CONTACT = """
env["res.partner"].create({{
    "name": {name!r}, "email": {name!r} + "@firma.be", "mailchimp_opt_in": True,
}})
"""
FIND = 'env["res.partner"].search([("email", "=", {name!r} + "@firma.be")])'
OPT_OUT = FIND + ".mailchimp_opt_in = False\n"
ADOPT = 'env["crm.mailchimp.account"].search([]).action_adopt_database()\n'
CONFIRM = 'env["crm.mailchimp.account"].search([]).action_confirm_older()\n'
# What a server would go on with at once.
WAITING = """
SELECT id FROM crm_mailchimp_run WHERE state IN ('queued', 'running')
UNION ALL SELECT id FROM ir_cron_trigger WHERE call_at <= NOW() AT TIME ZONE 'UTC'
   AND cron_id = (SELECT res_id FROM ir_model_data
                   WHERE module = 'crm_mailchimp' AND name = 'ir_cron_push')
"""
STATE = "SELECT state, error_message FROM crm_mailchimp_account"
RUN = "SELECT kind, state, read_all FROM crm_mailchimp_run ORDER BY id DESC LIMIT 1"
ACTIVITIES = (
    "SELECT COUNT(*) FROM mail_activity WHERE res_model = 'crm.mailchimp.account'"
)
# Another PostgreSQL cluster, or one that does not tell which it is.
CLUSTERS = {
    "another": "SELECT 7000000000000000000",
    "untold": "SELECT 1 / 0",
    "the same": "SELECT system_identifier FROM pg_catalog.pg_control_system()",
}
CLUSTER = """
CREATE FUNCTION public.pg_control_system(OUT system_identifier bigint) LANGUAGE SQL
AS '{}'
"""


class World:
    """Databases of one name that take turns, and the audience they all know of."""

    def __init__(self, environment, template, simulator):
        self.environment = environment
        self.simulator = simulator
        self.audience = simulator.add_audience("Test audience")
        environment.clone_database(template, DATABASE)
        self.worker = Worker(environment, DATABASE)
        self.worker.execute(LINK.format(url=simulator.url, key=simulator.api_key))
        self.push("push")

    def execute(self, *jobs):
        self.worker.execute("".join(jobs))

    def push(self, kind=None):
        """Run the scheduled actions until they have nothing more to do at once."""
        if kind:
            self.execute(REQUEST.format(kind=kind))
        assert self.worker.run(trigger=OPT_OUTS) == 0, f"see {self.worker.log}"
        for _tick in range(4):
            assert self.worker.run(trigger=PUSH) == 0, f"see {self.worker.log}"
            if not self.sql(WAITING):
                break

    def sql(self, query):
        return self.environment.postgres.sql(query, DATABASE)

    def keep(self, name):
        """Put the database away under another name."""
        self.environment.clone_database(DATABASE, name)

    def bring(self, name, cluster=None):
        """Put another one in its place.

        :param cluster: SQL of a cluster's system identifier, a key of ``CLUSTERS``
        """
        self.environment.clone_database(name, DATABASE)
        if cluster:
            self.sql(CLUSTER.format(CLUSTERS[cluster]))
            self.sql(
                f'ALTER DATABASE "{DATABASE}" SET search_path = public, pg_catalog'
            )

    def status(self, name):
        member = self.audience.members.get(f"{name}@firma.be")
        return member and member.status

    def marks(self):
        return [
            category.title
            for category in self.audience.categories.values()
            if category.title.startswith("Odoo since")
        ]


@pytest.fixture
def world(environment, template):
    with Simulator(port=0) as simulator:
        world = World(environment, template, simulator)
        yield world
        world.worker.close()


@pytest.fixture(scope="module")
def first_world(environment, template):
    """A world whose database keeps its place, so that its rows can be put back."""
    with Simulator(port=0) as simulator:
        world = World(environment, template, simulator)
        yield world, Rows(world.sql), simulator.snapshot(world.audience)
        world.worker.close()


@pytest.fixture
def same_world(first_world):
    world, rows, snapshot = first_world
    rows.put_back()
    (world.audience,) = world.simulator.restore(snapshot)
    return world


@pytest.mark.long
def test_an_older_backup_under_the_same_name(world):
    """Who left since it was made is not subscribed again, whatever is pressed."""
    world.keep(READY)
    world.execute(
        OPT_OUT.format(name="ann"),
        FIND.format(name="bob") + ".unlink()\n",
        FIND.format(name="carol") + ".active = False\n",
        CONTACT.format(name="dan"),
    )
    world.push("push")
    left = ("ann", "bob", "carol")
    assert {world.status(name) for name in left} == {"archived"}

    world.bring(READY)
    world.execute(CONTACT.format(name="eve"), OPT_OUT.format(name="gus"))
    world.push("push")
    assert world.sql(RUN) == [["full", "brake", True]]
    assert world.sql(ACTIVITIES)[0][0] > 0
    assert {world.status(name) for name in left} == {"archived"}
    assert world.status("eve") is None
    assert world.status("dan") == "subscribed"
    assert world.status("gus") == "archived", "an opt-out waits for nobody"

    world.execute(CONFIRM)
    world.push()
    assert world.sql(RUN) == [["full", "done", True]]
    assert world.status("eve") == "subscribed"
    for _time in range(2):
        assert {world.status(name) for name in left} == {"archived"}
        assert world.status("dan") == "subscribed"
        world.push("full")
    assert world.sql(STATE) == [["linked", None]]
    assert len(world.marks()) == 1


@pytest.mark.long
@pytest.mark.parametrize("cluster", ["another", "untold"])
def test_a_copy_elsewhere_with_the_same_name(world, cluster):
    """A dump on a laptop: it has the uuid and the name, the key and an opt-out."""
    world.keep(READY)
    world.execute(CONTACT.format(name="dan"))
    world.push("push")
    world.keep(COPY)

    world.bring(READY, cluster)
    world.execute(CONTACT.format(name="eve"), OPT_OUT.format(name="ann"))
    world.simulator.clear_calls()
    world.push("push")
    ((state, sentence),) = world.sql(STATE)
    assert state == "error"
    assert "Use this database from now on" in sentence
    assert world.sql(ACTIVITIES)[0][0] > 0
    assert {call.method for call in world.simulator.calls} <= {"GET"}
    assert bool(world.simulator.calls) == (cluster == "untold")
    assert (world.status("eve"), world.status("ann")) == (None, "subscribed")

    world.bring(COPY)
    world.execute(CONTACT.format(name="fay"), OPT_OUT.format(name="bob"))
    world.push("push")
    assert world.sql(STATE) == [["linked", None]]
    assert (world.status("fay"), world.status("bob")) == ("subscribed", "archived")


@pytest.mark.long
def test_a_copy_of_the_whole_disk(world):
    """Nothing tells it from the original but that the original goes on writing."""
    world.keep(READY)
    world.execute(CONTACT.format(name="dan"))
    world.push("push")
    world.keep(COPY)
    world.bring(READY, "the same")
    world.execute(CONTACT.format(name="eve"))
    world.push("push")
    assert world.sql(RUN) == [["full", "brake", True]]
    world.keep(READY)

    world.bring(COPY)
    world.execute(CONTACT.format(name="fay"))
    world.push("push")
    assert world.status("fay") == "subscribed"

    world.bring(READY, None)
    world.execute(OPT_OUT.format(name="ann"))
    world.push()
    assert world.sql(STATE)[0][0] == "error"
    assert (world.status("eve"), world.status("ann")) == (None, "subscribed")


@pytest.mark.long
def test_renamed_and_the_former_one_is_still_there(world):
    """The one that somebody decides for goes on, and the other one then stops."""
    world.keep(COPY)
    world.execute(CONTACT.format(name="dan"))
    renamed = Worker(world.environment, COPY)
    world.simulator.clear_calls()
    assert renamed.run(trigger=PUSH) == 0
    assert not world.simulator.calls
    ((state, sentence),) = world.environment.postgres.sql(STATE, COPY)
    assert state == "error" and "renamed" in sentence

    renamed.execute(ADOPT + CONTACT.format(name="eve"))
    for _tick in range(3):
        assert renamed.run(trigger=PUSH) == 0
    renamed.close()
    assert world.environment.postgres.sql(RUN, COPY) == [["full", "done", True]]
    assert world.status("eve") == "subscribed"

    world.push("push")
    assert world.sql(STATE)[0][0] == "error"
    assert world.status("dan") is None


@pytest.mark.parametrize("method", ["POST", "PATCH"])
@pytest.mark.parametrize("point", POINTS)
def test_killed_while_it_writes_the_mark(same_world, method, point):
    """The mark of a process that died is not another database's."""
    world = same_world
    if method == "POST":
        world.audience.categories.clear()
    world.execute(CONTACT.format(name="dan"), REQUEST.format(kind="push"))
    fatal = f"{method} /lists/{world.audience.id}/interest-categories"
    killed = []

    def on_call(call, reached):
        writes = f"{call.method} {call.path}".startswith(fatal)
        # Killed at "answered" by the simulator: it answers a process that is dead.
        if writes and reached == point and not killed:
            killed.append(call)
            os.kill(world.worker.pid, signal.SIGKILL)

    forget = world.simulator.on_call(on_call)
    assert world.worker.run(trigger=PUSH) == -signal.SIGKILL
    forget()
    world.push()
    assert world.sql(RUN)[0][:2] == ["push", "done"]
    assert world.sql(STATE) == [["linked", None]]
    assert world.sql(ACTIVITIES) == [[0]]
    assert world.status("dan") == "subscribed"
    assert len(world.marks()) == 1
