"""Why a job ended, and what goes wrong while it runs: rules over what it prints, measures and takes."""
