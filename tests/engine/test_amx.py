import pytest

from mlm.engine.amx import is_miscompiled


@pytest.mark.parametrize(
    ("comment", "broken"),
    [
        (b"GCC: (Debian 12.2.0-14+deb12u1) 12.2.0", True),
        (b"GCC: (Ubuntu 11.4.0-1ubuntu1~22.04) 11.4.0", True),
        (b"GCC: (GNU) 10.2.1 20210130", True),
        (b"GCC: (GNU) 12.4.0", False),
        (b"GCC: (Ubuntu 13.3.0-6ubuntu2~24.04) 13.3.0", False),
        (b"GCC: (GNU) 13.2.0", True),
        (b"GCC: (Debian 14.2.0-19) 14.2.0", False),
        (b"clang version 18.1.8", False),
        (b"", False),
    ],
)
def test_a_library_tells_whether_its_compiler_got_amx_wrong(comment: bytes, broken: bool):
    assert is_miscompiled(b"\x7fELF...\0" + comment + b"\0...") is broken
