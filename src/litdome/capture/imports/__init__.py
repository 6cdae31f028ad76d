"""Captures of public light stages as recording folders: HumanOLAT, Goliath."""
