"""The queues that ours is measured beside. Their scripts run in an environment of their own."""
