"""A lab's own training code: the field that reads feature files, the change that a checkout needs, the commands."""
