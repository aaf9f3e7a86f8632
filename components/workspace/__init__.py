"""What is kept between requests: models, prunings and measured rows."""
