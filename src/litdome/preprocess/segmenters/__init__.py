"""Where masks come from: a clean plate, a network (Sapiens 2, MediaPipe), or files that another program made."""
