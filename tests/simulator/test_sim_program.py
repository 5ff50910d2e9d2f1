"""The simulator as a program, its state file and its size."""

import http.client
import json
import subprocess
import sys

import requests

from mailchimp_simulator import Simulator


def test_as_a_program_with_a_state_file(tmp_path):
    command = [sys.executable, "-m", "mailchimp_simulator", "--port", "0", "--demo"]
    command += ["--state", str(tmp_path / "state"), "--switch", "language=de"]

    def start():
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        lines = []
        while not lines or not lines[-1].startswith("Ready"):
            lines.append(process.stdout.readline())
            assert lines[-1], "it ended"
        return process, lines[0].split()[-1].rstrip("/")

    process, root = start()
    audience = requests.get(root + "/control/audiences", timeout=5).json()[0]
    assert audience["name"] == "Odoo demo audience"
    switches = requests.get(root + "/control/switches", timeout=5).json()
    assert switches["language"] == "de"
    act = f"{root}/control/audiences/{audience['id']}/add_member"
    body = {"email": "ann@firma.be", "tags": ["VIP"]}
    assert requests.post(act, json=body, timeout=5).ok
    process.terminate()
    assert process.wait(10) == 0
    process, root = start()
    details = requests.get(f"{root}/control/audiences/{audience['id']}", timeout=5)
    assert details.json()["members"]["ann@firma.be"]["tags"] == ["VIP"]
    process.terminate()
    process.wait(10)


def test_a_state_file_of_before(audience):
    audience.add_member("ann@firma.be")
    campaign = audience.add_campaign()
    audience.send_campaign(campaign)
    audience.open(campaign, "ann@firma.be", proxy=True)
    ((member, recipient),) = campaign.recipients.items()
    member.__setstate__((None, {"email": member.email}))
    assert member.confirmations == 0
    recipient.__setstate__({"proxy_opens": 1})
    assert recipient.told_opens() == [(recipient.opens[0], True)]


def test_a_taken_port_is_said_plainly(sim):
    command = [sys.executable, "-m", "mailchimp_simulator", "--port", str(sim.port)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    assert done.returncode == 1
    assert "cannot start" in done.stderr
    assert "Traceback" not in done.stderr


def test_twenty_thousand_members():
    """A smoke test: nothing here may grow with the square of the audience."""
    with Simulator(validate=False, record_bodies=False) as sim:
        audience = sim.add_audience("Large")
        connection = http.client.HTTPConnection(sim.host, sim.port)
        headers = {"Authorization": f"Bearer {sim.api_key}"}
        for start in range(0, 20_000, 500):
            members = [
                {"email_address": f"p{n}@firma.be", "status": "subscribed"}
                for n in range(start, start + 500)
            ]
            raw = json.dumps({"members": members})
            connection.request("POST", f"/3.0/lists/{audience.id}", raw, headers)
            assert json.load(connection.getresponse())["total_created"] == 500
        seen = set()
        for offset in range(0, 20_000, 1000):
            query = f"count=1000&offset={offset}&sort_field=last_changed&sort_dir=DESC"
            path = f"/3.0/lists/{audience.id}/members?{query}&fields=members.id"
            connection.request("GET", path, headers=headers)
            seen |= {m["id"] for m in json.load(connection.getresponse())["members"]}
        assert len(seen) == 20_000
        connection.close()
