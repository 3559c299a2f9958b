"""The adversarial game: a discriminator learns, and the frozen generator is steered to fool it."""
