"""A login while others write to the account: the code is changed for a token once."""

import pytest
import requests

from mailchimp_simulator import Simulator
from tools.instance import Instance

from .conftest import DATABASE, Worker
from .test_kill import LINK

URI = "/crm_mailchimp/login"


class Browser:
    def __init__(self, server):
        self.session = requests.Session()
        self.server = server
        self.call(
            "/web/session/authenticate",
            db=DATABASE,
            login="admin",
            password="admin",
        )

    def call(self, path, **params):
        reply = self.session.post(
            self.server.url + path, json={"params": params}, timeout=60
        ).json()
        assert "error" not in reply, reply
        return reply["result"]

    def log_in(self, account, simulator):
        """Log in at Mailchimp, and return where Odoo sends the browser at last."""
        action = self.call(
            "/web/dataset/call_button/crm.mailchimp.account/action_login",
            model="crm.mailchimp.account",
            method="action_login",
            args=[[account]],
            kwargs={},
        )
        form = {"do": "allow", "account": simulator.account.id}
        reply = requests.post(action["url"], form, allow_redirects=False, timeout=30)
        reply = self.session.get(
            reply.headers["Location"], allow_redirects=False, timeout=60
        )
        return reply.headers["Location"]


@pytest.mark.long
def test_somebody_changes_the_account_meanwhile(environment, template):
    environment.clone_database(template, DATABASE)
    with Simulator(port=0) as simulator, Instance(environment, DATABASE) as server:
        simulator.add_audience("Test audience")
        worker = Worker(environment, DATABASE)
        worker.execute(LINK.format(url=simulator.url, key=simulator.api_key))
        simulator.add_app("app", "hush", server.url + URI)
        worker.execute(
            f"""
env["ir.config_parameter"].set_param("web.base.url", {server.url!r})
env["crm.mailchimp.app"]._set(client_id="app")
env["crm.mailchimp.app"]._set(client_secret="hush")
"""
        )
        worker.close()
        browser = Browser(server)
        ((account,),) = server.sql("SELECT id FROM crm_mailchimp_account")
        changed = []

        def change(call, point):
            if point == "applied" and call.path in ("/oauth2/token", "/"):
                name = f"Changed {len(changed)}"
                changed.append(name)
                server.sql(
                    f"UPDATE crm_mailchimp_account SET name = '{name}' RETURNING id"
                )

        simulator.on_call(change)
        simulator.clear_calls()
        location = browser.log_in(account, simulator)
        assert location.endswith(f"_account/{account}")
        assert len(changed) == 2
        assert simulator.count("POST", "/oauth2/token") == 1
        ((name, method, state),) = server.sql(
            "SELECT name, auth_method, state FROM crm_mailchimp_account"
        )
        assert (name, method, state) == (changed[-1], "oauth2", "linked")
        assert simulator.logins("app") == 1
