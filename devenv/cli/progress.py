"""What people see while steps run: a live tree on a terminal, one line a step elsewhere."""

from __future__ import annotations

import os
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, TextIO

from devenv.core.events import Event, EventKind, Subscriber
from devenv.report.timeline import CRITICAL

if TYPE_CHECKING:  # rich takes a while to import and only the live view needs it
    from rich.console import Console, RenderableType

ENDS: tuple[EventKind, ...] = ("done", "failed", "skipped")
STYLES = {"failed": "bold red", "skipped": "yellow", "note": "dim"}
SLOW = 2.0  # seconds after which the line view says that a step is still running, and why
REFRESH = 0.2  # seconds between two drawings of the live view
NARROWEST, WIDEST = 24, 48  # limits for the column of names, which grows with the longest one


class _Progress(ABC):
    """Follows events, makes aligned lines of them, and calls `_tick` in a thread of its own."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._begin = clock()
        self._lock = threading.RLock()
        self._counts: Counter[EventKind] = Counter()
        self._reasons: set[str] = set()
        self._node_width, self._name_width = 4, NARROWEST
        self._running: dict[tuple[str | None, str, str], tuple[Event, float]] = {}  # since when
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._keep_ticking, name="progress", daemon=True)

    def __call__(self, event: Event) -> None:
        if event.type == CRITICAL:  # for the journal's readers
            return
        with self._lock:
            self._counts[event.kind] += 1
            key = (event.node, event.type, event.step)
            if event.kind == "start":
                self._running[key] = (event, self._clock())
            elif event.kind != "note":
                self._running.pop(key, None)
            if words := self._words(event):
                self._show(self._line(event, words), event.kind)

    def close(self) -> None:
        """Stop, and say how many steps ended in which way."""
        self._closed.set()
        self._thread.join()
        with self._lock:
            self._running.clear()
            if self._counts:
                self._show(self._total(), "done")
        self._tick()

    def _keep_ticking(self) -> None:  # subclasses start the thread when they are complete
        while not self._closed.wait(REFRESH):
            self._tick()

    @abstractmethod
    def _tick(self) -> None: ...

    @abstractmethod
    def _show(self, line: str, kind: EventKind) -> None: ...

    def _words(self, event: Event) -> str:
        """What the line of `event` says; nothing if it deserves no line."""
        match event.kind:
            case "done":
                return f"done in {event.seconds or 0:.1f} s"
            case "failed":
                # The first line will do: the whole error follows when the command ends.
                text = event.text.removeprefix(f"{event.node}: ").partition("\n")[0]
                return f"FAILED after {event.seconds or 0:.1f} s: {text}"
            case "note":
                return event.text.rstrip().replace("\n", "\n" + " " * 8)
            case "skipped" if event.text not in self._reasons:
                # Once a reason: one failure may keep a hundred steps from running.
                self._reasons.add(event.text)
                return f"skipped: {event.text}"
        return ""

    def _line(self, event: Event, words: str) -> str:
        node, name = event.node or "", label(event)
        self._node_width = max(self._node_width, len(node))
        self._name_width = min(max(self._name_width, len(name)), WIDEST)
        return f"{self._elapsed()}  {node:{self._node_width}}  {name:{self._name_width}}  {words}"

    def _elapsed(self) -> str:
        return "{:>3}:{:02}".format(*divmod(int(self._clock() - self._begin), 60))

    def _total(self) -> str:
        ends = [f"{self._counts[end]} {end}" for end in ENDS if end == "done" or self._counts[end]]
        return f"{self._elapsed()}  {', '.join(ends)}"


def label(event: Event) -> str:
    """The step's name, with its type where the name alone is not enough ("keystone ready")."""
    clear = ("step", "job", *event.step.replace("_", " ").split())
    return event.step if event.type in clear else f"{event.step} {event.type}"


class LineProgress(_Progress):
    """Writes one line a step as it ends; before that, if it takes over two seconds, its reason."""

    def __init__(self, stream: TextIO, *, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(clock)
        self._stream = stream
        self._looked = self._begin
        self._thread.start()

    def _tick(self) -> None:
        with self._lock:
            now = self._clock()
            for event, start in self._running.values():
                if self._looked < start + SLOW <= now:
                    self._show(self._line(event, f"running: {event.text}".rstrip(": ")), "start")
            self._looked = now

    def _show(self, line: str, kind: EventKind) -> None:
        self._stream.write(line.rstrip() + "\n")
        self._stream.flush()


class LiveProgress(_Progress):
    """Shows a tree of what runs on which node, below the lines of what has ended."""

    def __init__(self, console: Console) -> None:
        from rich.live import Live
        from rich.text import Text

        super().__init__(time.monotonic)
        self._console = console
        self._fresh = Text()  # lines to print with the next drawing
        # stdout carries data: it must not be led through a console that writes to stderr.
        self._live = Live(
            console=console,
            get_renderable=self._tree,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
        )
        self._live.start()
        self._thread.start()

    def close(self) -> None:
        """Take the tree away, leave the lines, and say how many steps ended in which way."""
        super().close()
        self._live.stop()

    def _show(self, line: str, kind: EventKind) -> None:
        self._fresh.append(f"{line}\n", STYLES.get(kind))

    def _tick(self) -> None:
        with self._lock:
            fresh, self._fresh = self._fresh, self._fresh.blank_copy()
        with self._console:  # which writes all at once, so that no old tree shows in between
            if fresh:
                self._console.print(fresh, end="")
            self._live.refresh()

    def _tree(self) -> RenderableType:
        from rich.constrain import Constrain
        from rich.text import Text
        from rich.tree import Tree

        with self._lock:
            running = sorted(self._running.values(), key=lambda item: item[0].node or "")
            tree = Tree(Text(f"{self._total()}, {len(running)} running", "bold"), guide_style="dim")
        nodes: dict[str | None, Tree] = {None: tree}
        for event, start in running:
            if event.node not in nodes:
                nodes[event.node] = tree.add(Text(event.node or "", "cyan"))
            text = Text(f"{label(event)}  {int(self._clock() - start)} s", no_wrap=True)
            nodes[event.node].add(text.append(f"  {event.text}", "dim"))
        # Room for the "^C" that the terminal echoes: a wrapped line would leave rests behind.
        return Constrain(tree, self._console.width - 3)


@contextmanager
def progress(stream: TextIO | None = None) -> Iterator[Subscriber]:
    """For `stream` (stderr): live on a terminal without NO_COLOR, CI and TERM=dumb, else lines."""
    stream = stream or sys.stderr
    plain = os.environ.get("NO_COLOR") or os.environ.get("CI")
    view: LiveProgress | LineProgress
    if stream.isatty() and not plain and os.environ.get("TERM", "dumb") != "dumb":
        from rich.console import Console

        view = LiveProgress(Console(file=stream))
    else:
        view = LineProgress(stream)
    with closing(view):
        yield view
