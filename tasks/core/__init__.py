"""What every system's package stands on: errors, secrets, steps, gates, journal, prompts, child processes."""
