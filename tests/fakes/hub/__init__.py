"""A Hugging Face hub and its CDN over real sockets, honest until told otherwise."""

from fakes.hub.fault import Fault
from fakes.hub.repo import File, Repo
from fakes.hub.server import FakeHub, Request

__all__ = ["FakeHub", "Fault", "File", "Repo", "Request"]
