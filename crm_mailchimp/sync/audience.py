from ..engine import errors
from .creation import Creation


class AudienceCreation(Creation):
    """Runs of kind *audience*: create the audience somebody asked for, once."""

    def work(self):
        """Create and link the audience described in the cursor.

        If the answer got lost, an audience of that name that did not exist before is
        ours; any other audience of that name is never adopted.

        :return: whether the run is over
        """
        account = self.account
        if account.audience_ref:
            # Once another one is linked, nothing more is sent to the present audience.
            account._send_opt_outs_now()
        body = self.cursor.audience
        found = self.gateway.audiences()
        existing = {audience["id"]: audience["name"] for audience in found["lists"]}
        key = f"audience {self.run.id}"
        sentence = account._no_room_sentence(found["constraints"])
        if sentence and not self.is_tried(key):
            self.run._end("failed", sentence)
            return True
        try:
            ref = self.create_once(
                key,
                body["name"],
                existing,
                lambda name: self.gateway.create_audience(dict(body, name=name))["id"],
            )
        except (errors.Forbidden, errors.Rejected) as error:
            account._set_refs(creating=None)
            self.run._end("failed", self._why_no_audience(error))
            return True
        audience, root = self.gateway.audience(ref), self.gateway.root()
        account._set_refs(creating=None)
        # Linking ends what is open on the account; by then, this run has to be done.
        self.run._end("done")
        account._link_audience(audience, root)
        self.commit()
        return True

    def _why_no_audience(self, error):
        if isinstance(error, errors.Forbidden):
            return self.env._(
                "Mailchimp refused to create an audience. Either the plan does not "
                "allow another one (delete or combine audiences in Mailchimp, or "
                "change the plan), or the user of the API key is not allowed to "
                "create audiences."
            )
        return self.account._error_sentence(error)
