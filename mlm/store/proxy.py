"""Which proxy the environment wants for a URL: ``HTTPS_PROXY``, ``HTTP_PROXY``, ``NO_PROXY``."""

import base64
import urllib.request
from urllib.parse import unquote, urlsplit


def find_proxy(url: str) -> str | None:
    """Return the URL of the proxy to use for ``url``, None to go there directly."""
    parts = urlsplit(url)
    proxies = urllib.request.getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if not proxy or urllib.request.proxy_bypass(parts.netloc.rpartition("@")[2]):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def proxy_credentials(proxy: str) -> dict[str, str]:
    """Return the header that carries the name and password written into the proxy's URL."""
    parts = urlsplit(proxy)
    if not parts.username:
        return {}
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return {"Proxy-Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
