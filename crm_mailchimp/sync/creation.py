from ..engine import errors
from ..engine.json_columns import Creating
from ..engine.naming import free_name
from .phase import OutOfTime, Phase


class Creation(Phase):
    """A phase that creates things in Mailchimp that have no key of our own, each once.

    Mailchimp makes up the ids of audiences, categories, groups and tags, so the answer
    to a creation may get lost and leave a thing of ours that nobody knows.
    """

    def create_once(self, key, title, existing, create):
        """Create one thing in Mailchimp exactly once: see :meth:`_about_to_create`.

        :param str key: what it is for, to recognise the try
        :param dict existing: names by id of what is there; the new one is added
        :param create: called with the name, returns the id
        :return: the id
        """
        [(name, ref)] = self._about_to_create({key: (key, title, existing)}).values()
        if not ref:
            ref = create(name)
            existing[ref] = name
        return ref

    def create_several(self, wanted):
        """Create things in Mailchimp, several at once; what came of each is committed.

        :param wanted: ``{what: (key, title, existing, create)}``, as for
            :meth:`create_once`; ``create`` returns what Mailchimp answered, and is
            called in another thread
        :return: generator of ``(what, name, id or refusal)``
        :raise OutOfTime: when others are left for another slice
        :raise MailchimpError: the first one that is not about a single thing
        """
        names = self._about_to_create(
            {what: entry[:3] for what, entry in wanted.items()}
        )
        calls, trouble, answered = [], [], 0

        def enough():
            return trouble or answered and self.is_over()

        for what, (name, ref) in names.items():
            if ref:
                yield what, name, ref
            else:
                calls.append((what, wanted[what][3], name))
        for outcomes in self.gateway.map(calls, enough):
            answered += len(outcomes)
            for what, result in outcomes:
                if isinstance(result, errors.MailchimpError):
                    if not isinstance(result, errors.REFUSED):
                        trouble.append(result)
                        continue
                else:
                    result = result["id"]
                    wanted[what][2][result] = names[what][0]
                yield what, names[what][0], result
            self.commit()
        if trouble:
            raise trouble[0]
        if names:
            self.account._set_refs(creating=None)
            self.commit()
        if answered < len(calls):
            raise OutOfTime

    def _about_to_create(self, wanted):
        """Note what is about to be created in Mailchimp that has no key of our own.

        It is committed before the calls, with what was there before. If an answer gets
        lost, the next try finds a thing of that name that was not there: it is ours. A
        thing of that name that was there is somebody else's and is never adopted; ours
        gets a suffix.

        :param wanted: ``{what: (key, title, existing)}``: a text to recognise the try
            by, the name, and names by id of what is there
        :return: ``{what: (name, id)}``; the id is ``None`` of what is still to create
        """
        account, found, taken = self.account, {}, {}
        creating = account._refs().creating or Creating()
        tried, known = creating.names, creating.known
        for what, (key, title, existing) in wanted.items():
            ours = [
                ref
                for ref, name in existing.items()
                if name == tried.get(key) and ref not in known
            ]
            if ours:
                found[what] = (tried[key], ours[0])
                continue
            others = taken.setdefault(id(existing), list(existing.values()))
            name = free_name(title, others)
            others.append(name)
            found[what] = (name, None)
        ours = {ref for _name, ref in found.values()}
        if None in ours:
            known = {ref for entry in wanted.values() for ref in entry[2]} - ours
            names = {wanted[what][0]: name for what, (name, _ref) in found.items()}
            account._set_refs(creating=Creating(names, sorted(known)))
            self.commit()
        return found

    def is_tried(self, key):
        """Return whether this was about to be created when the last try ended."""
        creating = self.account._refs().creating
        return bool(creating) and key in creating.names
