from ..engine import errors
from ..engine.json_columns import Creating
from ..engine.naming import free_name
from .phase import OutOfTime, Phase


class Creation(Phase):
    """A phase that creates things in Mailchimp without a key of our own, each once.

    Mailchimp chooses the ids of audiences, categories, groups and tags, so if the
    answer to a creation gets lost, something of ours exists that we do not know of.
    """

    def create_once(self, key, title, existing, create):
        """Create one thing in Mailchimp exactly once: see :meth:`_about_to_create`.

        :param str key: what it is for, so that the next try can recognise it
        :param dict existing: names by id of what exists; the new one is added
        :param create: called with the name, returns the id
        :return: the id
        """
        [(name, ref)] = self._about_to_create({key: (key, title, existing)}).values()
        if not ref:
            ref = create(name)
            existing[ref] = name
        return ref

    def create_several(self, wanted):
        """Create several things in Mailchimp at once; each outcome is committed.

        :param wanted: ``{what: (key, title, existing, create)}``, as for
            :meth:`create_once`; ``create`` returns what Mailchimp answered, and is
            called in another thread
        :return: generator of ``(what, name, id or refusal)``
        :raise OutOfTime: when others are left for another slice
        :raise MailchimpError: the first error that is not about a single thing
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
        """Note what is about to be created in Mailchimp without a key of our own.

        This is committed before the calls, with what existed before. If an answer gets
        lost, the next try finds something of that name that did not exist before: it is
        ours. If something of that name did exist, it is somebody else's and is never
        adopted; ours gets a suffix.

        :param wanted: ``{what: (key, title, existing)}``: a text by which the next try
            recognises it, the name, and names by id of what exists
        :return: ``{what: (name, id)}``; the id is ``None`` if it is still to be created
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
