"""What a machine boots: plan, script, seed, key, session and configuration, all of it pure."""
