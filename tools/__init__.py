"""The environment of the project: one command prepares everything below the clone."""
