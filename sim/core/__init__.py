"""What a scheduler deals with: requests, passes and their timelines, orders, policies, routers and SLOs."""
