"""What each person is shown, and why: `service` chooses from what `reading` may read, by `configuration`."""
