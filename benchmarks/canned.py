"""A server that answers like Mailchimp at the lowest possible cost, for both sides.

``python -m benchmarks.canned PORT_FILE BASE PER_MEMBER RECORD RECIPIENTS OLD MEMBERS``
prints nothing, writes its port to a file, and answers batch subscribes with full member
objects after ``BASE + PER_MEMBER * members`` seconds. With a RECORD folder it keeps
their bodies; with RECIPIENTS it has a campaign to that many, and OLD older ones.
MEMBERS is the number of subscribed members it starts with.
"""

import json
import re
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path

from .canned_reports import Reports

NUMBER = count(1)
LOCK = threading.Lock()
STATE = {
    "members": 0,
    "categories": {},
    "interests": {},
    "fields": {},
    "first": None,
    "calls": 0,
}
MEMBER = (
    '{"id":"0123456789abcdef0123456789abcdef","email_address":%s,'
    '"unique_email_id":"0123456789","contact_id":"0123456789abcdef0123456789abcdef",'
    '"full_name":"Some Body","web_id":%d,"email_type":"html","status":"%s",'
    '"merge_fields":%s,"interests":%s,"stats":{"avg_open_rate":0,"avg_click_rate":0},'
    '"ip_signup":"","timestamp_signup":"2026-01-01T00:00:00+00:00","ip_opt":"127.0.0.1",'
    '"timestamp_opt":"2026-01-01T00:00:00+00:00","member_rating":2,'
    '"last_changed":"%s","language":"%s","vip":false,"email_client":"",'
    '"location":{"latitude":0,"longitude":0,"gmtoff":0,"dstoff":0,"country_code":"",'
    '"timezone":"","region":""},"source":"API - Generic","tags_count":0,"tags":[],'
    '"list_id":"%s"}'
)
DEFAULT_FIELDS = ("FNAME", "LNAME", "CITY", "COUNTRY", "GENDER")


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body go out together, to keep the client's delayed ACK out of the times.
    wbufsize, disable_nagle_algorithm = -1, True
    base = per_member = 0.0
    record = reports = None

    def log_message(self, *args):
        """Be quiet."""

    def reply(self, text, counts=True):
        raw = text.encode()
        with LOCK:
            STATE["calls"] += counts
        self.send_response(200)
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def read(self):
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def do_GET(self):
        path, _mark, query = self.path.removeprefix("/3.0").partition("?")
        if self.reports and path.startswith(("/campaigns", "/reports")):
            time.sleep(self.base)
            self.reply(self.reports.answer(path, query) or "{}")
            return
        if path == "/calls":
            self.reply(json.dumps(STATE["calls"]), counts=False)
            return
        if path in ("", "/"):
            data = {"account_id": "canned", "account_name": "Canned", "role": "owner"}
        elif path == "/lists":
            data = {
                "lists": [{"id": "canned", "name": "Canned", "web_id": 1}],
                "total_items": 1,
            }
        elif path.endswith("/members"):
            # Only the number of subscribed members is needed, never a listing.
            counting = "status=subscribed" in self.path
            number = STATE["members"] if counting else 0
            data = {"members": [], "total_items": number}
        elif path.endswith("/merge-fields"):
            data = {
                "merge_fields": [
                    {"merge_id": number, "tag": tag, "name": tag, "type": "text"}
                    for number, tag in enumerate(DEFAULT_FIELDS, 1)
                ],
                "total_items": len(DEFAULT_FIELDS),
            }
        elif path.endswith("/interests"):
            data = {"interests": [], "total_items": 0}
        else:
            data = {"categories": [], "total_items": 0}
        time.sleep(self.base)
        self.reply(json.dumps(data))

    def do_PATCH(self):
        """Change the member that came first; anything else is echoed."""
        body = json.loads(self.read())
        time.sleep(self.base)
        if "/members/" in self.path:
            first = STATE["first"]
            values = {**first["merge_fields"], **body.get("merge_fields", {})}
            body = dict(first, merge_fields=values, id="0" * 32)
        self.reply(json.dumps(body))

    def do_POST(self):
        raw = self.read()
        path = self.path.partition("?")[0].removeprefix("/3.0")
        if path == "/refresh":
            self.reports.refresh(**json.loads(raw))
            self.reply("{}", counts=False)
            return
        if not re.fullmatch("/lists/[^/]+", path):
            body = json.loads(raw)
            time.sleep(self.base)
            body["id"] = f"{next(NUMBER):010x}"
            self.reply(json.dumps(body))
            return
        members = json.loads(raw)["members"]
        STATE["first"] = STATE["first"] or members[0]
        if self.record:
            (self.record / f"{next(NUMBER):06d}.json").write_bytes(raw)
        # Longer ago than a run looks back, so that later runs find a quiet audience.
        day = time.gmtime(time.time() - 86400)
        now = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", day)
        found = ",".join(
            MEMBER
            % (
                json.dumps(member["email_address"]),
                number,
                member["status"],
                json.dumps(member.get("merge_fields", {})),
                json.dumps(member.get("interests", {})),
                now,
                member.get("language", "en"),
                "canned",
            )
            for number, member in enumerate(members, 1)
        )
        with LOCK:
            STATE["members"] += len(members)
        time.sleep(self.base + self.per_member * len(members))
        self.reply(
            f'{{"new_members":[{found}],"updated_members":[],"errors":[],'
            f'"total_created":{len(members)},"total_updated":0,"error_count":0}}'
        )


def main(port_file, base, per_member, record="", recipients="0", old="0", members="0"):
    STATE["members"] = int(members)
    Handler.base, Handler.per_member = float(base), float(per_member)
    Handler.record = Path(record) if record else None
    if int(recipients):
        Handler.reports = Reports(int(recipients), int(old))
    ThreadingHTTPServer.daemon_threads = True
    ThreadingHTTPServer.request_queue_size = 64
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Path(port_file).write_text(str(server.server_port))
    server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
