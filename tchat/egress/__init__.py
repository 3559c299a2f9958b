"""What leaves this machine: a log of each request, by host, time and bytes."""
