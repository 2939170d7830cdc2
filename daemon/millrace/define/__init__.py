"""What can be run: tasks, their payloads and policies. Pure: nothing here touches disk, network or clock."""
