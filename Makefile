# Everything is prepared below this folder (.env) and in the user's cache folder.
export PYTHON ODOO_PORT SIMULATOR_PORT ONCE KIND LONG MUTANTS

.PHONY: help demo test screenshots guide env lint format mutants shell bench pot po
.PHONY: lock stop clean distclean

help:
	@echo "make demo    Odoo with demo contacts and a simulated Mailchimp, connected"
	@echo "             (ONCE=1: print and stop again; ODOO_PORT, SIMULATOR_PORT)"
	@echo "make test    the short tests; LONG=1: all of them, as CI runs them"
	@echo "             (KIND='engine simulator odoo histories e2e website lint', ARGS for pytest;"
	@echo "             KIND=faults: each call goes wrong in each way)"
	@echo "make lint    ruff, mypy, pylint-odoo, prettier, eslint; format: rewrite the files"
	@echo "make mutants break the rules of the engine one by one: which does no test notice?"
	@echo "             (MUTANTS='plan errors payload lease')"
	@echo "make screenshots  the pictures of the guide, from a fresh demo"
	@echo "make guide   the guide and the page of the app store, from docs/"
	@echo "make shell   Odoo's shell on the demo database"
	@echo "make bench   measure against the floor"
	@echo "make pot     write the translation template, and merge it into the translations"
	@echo "             (po: merge only); a test names the texts that wait for a translator"
	@echo "make lock    pin the newest Python packages"
	@echo "make env     prepare only; prints what to export to run things by hand"
	@echo "make stop    stop the private PostgreSQL, which env leaves running"
	@echo "make clean   forget this clone's environment; distclean: the downloads too"

demo:
	@$(or $(PYTHON),python3) -m tools.demo

test:
	@$(or $(PYTHON),python3) -m tools.test $(ARGS)

env lint format mutants screenshots guide shell bench pot po lock stop clean distclean:
	@$(or $(PYTHON),python3) -m tools.chores $@ $(ARGS)
