"""What tchat keeps of the user, where, and how to remove it."""
