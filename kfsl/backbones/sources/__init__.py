"""Where pretrained networks come from; each gives a network and what it wants of pixels."""
