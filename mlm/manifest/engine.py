"""Which release of llama-cpp-python a manifest wants, and which one is installed here."""

import re

PACKAGE = "llama-cpp-python"
_REQUIREMENT = re.compile(r"llama[-_.]+cpp[-_.]+python\s*(?P<versions>[^;@\[]*)", re.IGNORECASE)


def read_requirement(text: str) -> str:
    """Return the versions that ``llama-cpp-python>=0.3.36,<0.4`` allows; "" allows every one.

    Raises:
        ValueError: it is no requirement of that package; the message says how to write one.
    """
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    match = _REQUIREMENT.fullmatch(text.strip())
    try:
        if match is None:
            raise InvalidSpecifier
        return str(SpecifierSet(match["versions"]))
    except InvalidSpecifier:
        raise ValueError(f"'{text}' is not written like {PACKAGE}>=0.3.36,<0.4") from None


def read_pinned(text: str) -> str:
    """Return the one version that ``llama-cpp-python==0.3.36`` names.

    Raises:
        ValueError: it names none, or several.
    """
    versions = read_requirement(text)
    if (version := exact_version(versions)) is None:
        raise ValueError(f"'{text}' is not written like {PACKAGE}==0.3.36")
    return version


def exact_version(versions: str) -> str | None:
    """Return the only version that ``versions`` allows, None if there may be several."""
    return versions[2:] if re.fullmatch(r"==[^,*]+", versions) else None


def allows(versions: str | None, version: str) -> bool:
    """Whether ``version`` is among ``versions``; pre-releases count like others."""
    from packaging.specifiers import SpecifierSet

    return versions is None or SpecifierSet(versions).contains(version, prereleases=True)


def installed_version() -> str | None:
    """Return the release of llama-cpp-python that is installed, None if there is none.

    Nothing of it is loaded, and what a build adds to the number (``+cu124``) is left out: it says
    for which hardware it was built.
    """
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(PACKAGE).partition("+")[0]
    except PackageNotFoundError:
        return None
