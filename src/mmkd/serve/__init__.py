"""A model as a service: HTTP, tools for assistants, and a web page, in one process."""
