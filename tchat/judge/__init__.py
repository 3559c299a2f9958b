"""The discriminator: does a reply read as written by a person, and the game that trains it."""
