"""The body template: a skinned, textured, expressive person at rest, and how to pose it."""
