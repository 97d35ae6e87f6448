"""Run folders and the runner that wraps every command."""
