"""What people look at: status, scores per pair, pages with pictures."""
