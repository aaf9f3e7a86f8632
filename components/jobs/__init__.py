"""Heavy work: jobs, the queue that runs them, and the button that follows one."""
