"""The paper's tables in miniature: takes, what is trained on them, how it is scored, what of it holds."""
