"""When to submit without being asked: schedules. All of it is arithmetic on times that are passed in, but the clock."""
