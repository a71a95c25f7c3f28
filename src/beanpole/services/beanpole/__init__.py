"""Our own service: what Elastic Beanstalk's API has no words for. Plans, releases, live progress, counted requests."""
