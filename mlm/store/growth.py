"""How many connections one file deserves: more, as long as more bring more."""

MOST_CONNECTIONS = 16
_FACTOR = 4  # 1, 4, 16: a server that caps each connection is found out within two seconds
_GAIN = 1.3  # so much more must come, or the new ones are let go again
_ENOUGH_BYTES_PER_S = 300e6  # from here on disk and hash decide
_WORTH_S = 1.0  # what is done sooner needs no help
_SETTLE_S = 0.2  # new connections need some time to speed up,
_SETTLE_ANSWERS = 4  # … on long lines so many times what they need to be answered at all
_MEASURE_S = 0.25
_PAUSE_S = 30.0  # until more are tried again, when more did not help or were refused


class Growth:
    """Watches one transfer. Times are seconds of one clock, sizes bytes."""

    def __init__(self, now: float) -> None:
        self.wanted = 1
        self._before = 1  # connections, before the last growth
        self._rate_before = 0.0
        self._since = now + _SETTLE_S  # when measuring begins, or began
        self._settled = False  # all are answered, so that this is known
        self._fetched: int | None = None  # bytes by then

    def watch(self, now: float, fetched: int, missing: int, answer_s: float | None) -> None:
        """Look at how much has come so far and how much is missing, and change ``wanted``.

        ``answer_s`` is how long the server takes to answer; None while an answer is waited for.
        """
        if not self._settled:
            if answer_s is None:
                return
            self._settled = True
            self._since = max(self._since, now + _SETTLE_ANSWERS * answer_s)
        if now < self._since:
            return
        if self._fetched is None:
            self._since, self._fetched = now, fetched
        elapsed = now - self._since
        if elapsed < _MEASURE_S:
            return
        rate = (fetched - self._fetched) / elapsed
        if self.wanted > self._before and rate < self._rate_before * _GAIN:
            self.wanted = self._before
            self._begin(now + _PAUSE_S)
        elif rate and missing / rate > _WORTH_S and rate < _ENOUGH_BYTES_PER_S:
            self._before, self._rate_before = self.wanted, rate
            self.wanted = min(self.wanted * _FACTOR, MOST_CONNECTIONS)
            self._begin(now + (_SETTLE_S if self.wanted > self._before else _PAUSE_S))
        else:
            self._begin(now)

    def lose(self, now: float, left: int, wait_s: float | None) -> None:
        """Hear that a connection was refused or broke, ``left`` others going on.

        ``wait_s`` is how long the server asked to be left alone.
        """
        self.wanted = self._before = max(1, left)
        self._begin(now + max(_PAUSE_S, wait_s or 0.0))

    def _begin(self, at: float) -> None:
        self._since = at
        self._settled = False
        self._fetched = None
