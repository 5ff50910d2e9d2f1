"""One campaign with many recipients, as in Mailchimp's reports, prepared in advance.

Its pages are made once, before anything is measured, so both sides get the same bytes.
Listings, links, and answers to ``since`` are put together on request.
"""

import hashlib
import json
from datetime import datetime, timedelta, timezone
from urllib.parse import parse_qs

PAGE = 500
EVENTS = ("open", "open", "click")  # of each recipient
URLS = [f"https://www.example.com/shop/{number}?utm_source=news" for number in range(9)]
CAMPAIGN = "0123456789"


OLD = "old"


class Reports:
    """The campaign, and older ones beside it.

    :param int recipients: number of recipients; each has three events
    :param int old: number of older campaigns, with one recipient each
    """

    def __init__(self, recipients, old=0):
        self.recipients = recipients
        self.old = old
        self.sent = datetime.now(timezone.utc).replace(microsecond=0) - timedelta(
            hours=12
        )
        self.pages = {}
        #: After a refresh: so many of the last recipients opened once more.
        self.news, self.drops_idle = 0, False
        for offset in range(0, recipients, PAGE):
            numbers = range(offset, min(offset + PAGE, recipients))
            self.pages["sent-to", offset] = self._page(
                "sent_to", [{**who(n), "status": "sent"} for n in numbers]
            )
            self.pages["email-activity", offset] = self._page(
                "emails", [{**who(n), "activity": self._events(n)} for n in numbers]
            )

    def _page(self, key, entries, total=None):
        total = self.recipients if total is None else total
        return json.dumps({key: entries, "total_items": total})

    def _events(self, number):
        events = []
        for index, action in enumerate(EVENTS):
            moment = self.sent + timedelta(seconds=number % 30000 + index * 60)
            event = {"action": action, "timestamp": moment.isoformat()}
            if action == "click":
                event["url"] = URLS[number % len(URLS)]
            events.append(event)
        return events

    def refresh(self, news, drops_idle):
        self.news, self.drops_idle = news, drops_idle

    def answer(self, path, query):
        """Return the body of an answer, or ``None`` for anything unknown."""
        query = {name: values[-1] for name, values in parse_qs(query).items()}
        offset = int(query.get("offset", 0))
        if path in ("/campaigns", "/reports"):
            return self._listing(path.strip("/"), offset, int(query.get("count", 10)))
        if path.startswith(f"/reports/{OLD}"):
            part = path.rpartition("/")[2]
            entries = [{**who(0), "status": "sent"}] if part == "sent-to" else []
            return json.dumps({"sent_to": entries, "total_items": len(entries)})
        part = path.removeprefix(f"/reports/{CAMPAIGN}/")
        if part == "click-details":
            return json.dumps({"urls_clicked": self._links(), "total_items": len(URLS)})
        if part == "email-activity" and "since" in query:
            return self._since(offset)
        return self.pages.get((part, offset))

    def _since(self, offset):
        """Return a page on which the last ``news`` recipients opened again.

        The others did nothing since, and are listed unless ``drops_idle``.
        """
        first = self.recipients - self.news
        moment = self.sent + timedelta(hours=12 + self.news % 7)
        event = {"action": "open", "timestamp": moment.isoformat()}
        numbers = range(first if self.drops_idle else 0, self.recipients)
        entries = [
            {**who(number), "activity": [event] if number >= first else []}
            for number in numbers[offset : offset + PAGE]
        ]
        return self._page("emails", entries, len(numbers))

    def _listing(self, key, offset, count):
        make = self._campaign if key == "campaigns" else self._report
        entries = []
        for number in range(offset, min(offset + count, self.old + 1)):
            entry = make()
            if number:
                sent = self.sent - timedelta(days=100 + number)
                entry.update(id=f"{OLD}{number}", send_time=sent.isoformat())
                if key == "reports":
                    nothing = {"opens_total": 0, "unique_opens": 0}
                    entry.update(emails_sent=1, opens=nothing, clicks={})
            entries.append(entry)
        return json.dumps({key: entries, "total_items": self.old + 1})

    def _campaign(self):
        return {
            "id": CAMPAIGN,
            "web_id": 1,
            "type": "regular",
            "status": "sent",
            "send_time": self.sent.isoformat(),
            "settings": {"title": "Benchmark", "subject_line": "Benchmark"},
        }

    def _report(self):
        opens = EVENTS.count("open") * self.recipients + self.news
        return {
            "id": CAMPAIGN,
            "list_id": "canned",
            "type": "regular",
            "campaign_title": "Benchmark",
            "send_time": self.sent.isoformat(),
            "emails_sent": self.recipients,
            "opens": {"opens_total": opens, "unique_opens": self.recipients},
            "clicks": {"clicks_total": EVENTS.count("click") * self.recipients},
        }

    def _links(self):
        return [
            {"id": f"{number:010x}", "url": url, "total_clicks": 1}
            for number, url in enumerate(URLS)
        ]


def who(number):
    address = f"p{number + 1}@firm{(number + 1) % 1000}.example.net"
    digest = hashlib.md5(address.encode(), usedforsecurity=False).hexdigest()
    return {"email_id": digest, "email_address": address}
