"""Another audience, a required field, odd values, and what is deleted by hand."""

from oracle import NEVER, REACHABLE, Address
from watcher.drawing import has_members, rule
from watcher.harness import CITIES, EMAILS

from .scheduled_action import ScheduledAction
from .world import ODD, WORLDS


class Audiences(ScheduledAction):
    """Lets the audience change under Odoo's feet."""

    @rule(lambda self: self.pushing and "audiences" in WORLDS, weight=1)
    def link_another(self):
        """A manager links another audience; what was said stays known."""
        self.run()
        self.tally["audiences changed"] += 1
        self.left.append(self.audience.id)
        self.audience = self.case.audience = self.simulator.add_audience("Another")
        self.prepare_audience()
        for email in EMAILS:
            address = self.oracle.address(email)
            # Such an address is not tried again, wherever it bounced or was erased.
            given_up = address.erased or (address.bounced_at and not address.back)
            # What an archiving hid may have been found.
            given_up = given_up or address.given_up or address.hidden
            self.oracle.addresses[email] = Address(given_up=bool(given_up))
        self.oracle.owners, self.leaving = {}, set()
        for email in self.random.sample(EMAILS, self.pick(range(4))):
            self.add_in_mailchimp(email, self.pick(REACHABLE))
            address = self.oracle.address(email)
            if self.status(email) == "subscribed":
                # Nobody can tell a newer sign-up by an admin from the person's own.
                address.yes_at, address.yes_shows = self.now, True
            elif email in self.oracle.opt_outs:
                # The manager is asked about those who opted out before, and agrees.
                address.doomed, address.maybe_ours = None, True
        self.case.link()
        self.account = self.case.account = self.env["crm.mailchimp.account"].search(
            [("company_id", "=", self.account.company_id.id)]
        )
        self.account.push_enabled = True
        self.step()
        self.run()

    @rule(lambda self: self.clock_known and self.pushing, weight=1)
    def require_a_field(self):
        """For a while Mailchimp wants a value that Odoo does not have: it refuses
        changes, but opt-outs leave all the same."""
        self.run()
        self.tally["field required"] += 1
        field = self.audience.add_merge_field("Shop", "SHOP", required=True)
        for _time in range(self.pick(range(1, 4))):
            self.create()
            contact = self.pick_contact(self.is_sent)
            self.edit(contact, self.pick(CITIES))
            self.step()
        self.start_run(faulty=True)
        self.work()
        self.after_run()
        self.step()
        self.opt_out_somebody()
        leaving = self.start_lane()
        self.faulty = False
        self.case.send_opt_outs()
        self.judge_lane(leaving)
        for email in EMAILS:
            # What Mailchimp refused is not tried again before the contact changes.
            self.refused.add(email)
            address = self.oracle.address(email)
            address.restorable = address.restorable and None
        field.required = False
        for contact in self.oracle.contacts.values():
            self.edit(contact, self.city(contact))
        self.step()
        # Whether it is required is read when everything is compared.
        self.start_run(faulty=True)
        self.work("full")
        self.after_run()

    @rule(has_members("subscribed"), weight=1)
    def edit_oddly(self):
        """Somebody enters what no contact can take: nobody else waits for it."""
        email = self.pick(self.members("subscribed"))
        fields_there = self.audience.merge_fields.values()
        if self.oracle.address(email).ours and any(
            field.tag == "CITY" for field in fields_there
        ):
            self.tally["odd values"] += 1
            self.audience.edit(email, merge_fields={"CITY": ODD})

    def unsettled(self, email):
        return super().unsettled(email) or (
            self.oracle.options.sync_direction == "both"
            and self.audience.members[email].merge_fields.get("CITY") == ODD
        )

    @rule(lambda self: self.pushing, weight=1)
    def delete_by_hand(self):
        """Somebody deletes in Mailchimp what Odoo needs there."""
        audience = self.audience
        groups = {
            interest.id: category.interests
            for category in audience.categories.values()
            for interest in category.interests.values()
            if self.is_ours(interest)
        }
        tags = {tag.id: tag for tag in audience.segments.values() if self.is_ours(tag)}
        there = [f for f in audience.merge_fields.values() if f.tag == "CITY"]
        kind = self.pick(["group", "tag", "field"])
        if kind == "group" and groups:
            ref = self.pick(groups)
            del groups[ref][ref]
            for member in audience.members.values():
                member.interests -= {ref}
        elif kind == "tag" and tags:
            tag = audience.segments.pop(self.pick(tags))
            for member in audience.members.values():
                member.tags.pop(tag, None)
        elif kind == "field" and there:
            del audience.merge_fields[there[0].merge_id]
            for email, member in audience.members.items():
                member.values.pop(there[0].merge_id, None)
                # Nothing is left of what both sides had.
                self.oracle.address(email).agreed = {NEVER}
        else:
            return
        self.tally[f"{kind} deleted by hand"] += 1
        self.reborn = True
