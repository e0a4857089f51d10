"""Makes the papers' rows: which are missing, and the processes that train them."""
