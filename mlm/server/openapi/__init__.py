"""What the server says of its own API: an OpenAPI document, made of what checks the requests."""
