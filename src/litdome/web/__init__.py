"""The curator's page: a server on this machine, and what a browser needs of it."""
