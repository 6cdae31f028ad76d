"""A light stage that does not exist, with exact truth."""
