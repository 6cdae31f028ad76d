"""RAFT: a network that finds motion where DIS is lost; slower, and its weights are the user's to bring."""
