"""What happened to which machine: the door that every room reports through. See `Boots` and `Journal`."""
