"""What the views together make up: links and limits of requests."""
