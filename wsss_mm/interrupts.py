"""Ctrl-C is one line on stderr and exit code 130, from the first import to the last moment.

What stands in the way, and what is done about it here:

- an import turns it into another error (extension modules do), or passes over it: it is pressed again until the import
  is over; errors that follow Ctrl-C are Ctrl-C;
- it comes where Python must pass over errors (`__del__`, callbacks), and would print a traceback: it is pressed again;
- it comes while the interpreter ends, which takes seconds after torch was imported, and would end it without a word:
  a program that has done its work ends at once (`run_program`);
- it comes to processes that were begun: they end silently.
"""

import atexit
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.machinery import ExtensionFileLoader
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

INTERRUPTED = 128 + signal.SIGINT
"""Exit code of a process that Ctrl-C ended, as a shell says of it."""

_AGAIN = 0.05  # s until it is pressed again
_UNFLUSHED = 120  # Python's own code where the last of what was printed cannot be written


class _State:
    """What is known of Ctrl-C in this process."""

    pressed = False  # and nobody was told yet
    leaving = False  # the work is done, nothing is to be broken off
    within: FrameType | None = None  # the import that it came in
    again = False  # it is this module that presses
    owed = False  # it was put off, since an extension module would make another error of it


def say_when_interrupted(line: str) -> None:
    """From now on, as long as a program is being imported, Ctrl-C ends it with this line.

    Args:
        line: what is said, without its end.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler and _is_main_thread():
        signal.signal(signal.SIGINT, _hear)
        os.register_at_fork(after_in_child=lambda: _end_silently(_hear))
    if _is_begun_by_another():
        _end_silently(_hear)
        return
    errors, passed_over = sys.excepthook, sys.unraisablehook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt) or _State.pressed:
            _leave(say(line), line)
        errors(kind, error, trace)

    def unraisable(given: "UnraisableHookArgs") -> None:
        if given.exc_type is not None and issubclass(given.exc_type, KeyboardInterrupt) and _State.pressed:
            if not _State.leaving:
                _press_again(None)
        else:
            passed_over(given)

    sys.excepthook, sys.unraisablehook = hook, unraisable


def say(line: str) -> int:
    """Say that a program was interrupted; the exit code that goes with it."""
    _State.pressed = False
    with suppress(OSError, ValueError, AttributeError):  # nobody listens, or it was closed by the shell: 2>&-
        sys.stderr.write(f"{line}\n")
    return INTERRUPTED


def is_pressed() -> bool:
    """Whether Ctrl-C was pressed, and nobody was told yet: what raised no error for it, or another, is broken off."""
    return _State.pressed


def interruptible(work: Callable[[], int | None], line: str) -> int:
    """Do some work that Ctrl-C may break off.

    Args:
        work: may give an exit code. What it raises after Ctrl-C is Ctrl-C, and so is its end if it passed over it.
        line: what is said then.

    Returns:
        The exit code, 130 after Ctrl-C.
    """
    try:
        code = work() or 0
    except BaseException as error:
        if not (isinstance(error, KeyboardInterrupt) or _State.pressed):
            raise
        return say(line)
    return say(line) if _State.pressed else code


def run_program(work: Callable[[], int | None], line: str) -> NoReturn:
    """Do what this process was started for, and end it: nothing comes after that could be interrupted.

    Threads are waited for, `atexit` is heeded; the interpreter is not taken down piece by piece.

    Args:
        work: may give an exit code, or raise SystemExit.
        line: what is said after Ctrl-C.
    """
    try:
        code = interruptible(work, line)
        _State.leaving = True
    except SystemExit as error:
        _State.leaving = True
        code = _code(error.code)
    except BaseException as error:
        _State.leaving = True
        code = 1
        sys.excepthook(type(error), error, error.__traceback__)
    _leave(code, line)


@contextmanager
def deaf_children() -> Iterator[None]:
    """Processes that begin in the block do not hear the terminal's Ctrl-C: who began them hears it, and ends them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def ended_children() -> Iterator[None]:
    """Processes that begin in the block are ended by an error or Ctrl-C in it, in the midst of their work.

    Inside the block of a pool of processes, which would wait for what they are at.
    """
    from multiprocessing import active_children

    before = set(active_children())
    try:
        yield
    except BaseException:
        for child in set(active_children()) - before:
            child.terminate()
        raise


def _hear(_number: int, frame: FrameType | None) -> None:
    """The handler of SIGINT."""
    if _State.leaving:
        if _State.pressed:  # twice: now
            os._exit(INTERRUPTED)
        _State.pressed = True
        return
    again, _State.again = _State.again, False
    if again and _State.within is not None and not _is_within(frame, _State.within):
        return  # the import is over, and what broke it off is on its way
    _State.pressed = True
    outermost, in_extension = _imports(frame)
    if outermost is not None and not again:
        _press_again(outermost)
    _State.owed = in_extension
    if not in_extension:
        raise KeyboardInterrupt


def _imports(frame: FrameType | None) -> tuple[FrameType | None, bool]:
    """The outermost import that a frame is in, and whether an extension module is being made or begun in it."""
    outermost, in_extension = None, False
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            outermost = frame
        if frame.f_code.co_name in ("create_module", "exec_module"):
            loader: Any = frame.f_locals.get("self")
            in_extension |= isinstance(loader, ExtensionFileLoader)
        frame = frame.f_back
    return outermost, in_extension


def _is_within(frame: FrameType | None, outer: FrameType) -> bool:
    while frame is not None and frame is not outer:
        frame = frame.f_back
    return frame is not None


def _press_again(within: FrameType | None) -> None:
    """Press Ctrl-C again in a moment, once, or as long as the main thread is in an import."""
    main = threading.main_thread().ident
    if main is None:
        return

    def press() -> None:
        pause = threading.Event()
        while not pause.wait(_AGAIN) and not _State.leaving:
            goes_on = within is not None and _is_within(sys._current_frames().get(main), within)
            if not goes_on and not (within is None or _State.owed):
                break
            _State.within, _State.again = within if goes_on else None, True
            signal.pthread_kill(main, signal.SIGINT)
            if not goes_on:
                break

    with suppress(RuntimeError):  # none is begun any more: the interpreter ends
        threading.Thread(target=press, daemon=True, name="interrupts").start()


def _leave(code: int, line: str) -> NoReturn:
    """End the process, as the interpreter would, but without the last part, in which it no longer hears."""
    _State.leaving = True
    threading._shutdown()  # ty: ignore[missing-attribute]
    atexit._run_exitfuncs()
    if _State.pressed:
        code = say(line)
    for stream in filter(None, (sys.stdout, sys.stderr)):
        try:
            stream.flush()
        except (OSError, ValueError):
            code = code or _UNFLUSHED
    os._exit(code)


def _code(given: object) -> int:
    """The exit code that `SystemExit` asks for."""
    if given is None or isinstance(given, int):
        return given or 0
    sys.stderr.write(f"{given}\n")
    return 1


def _is_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _is_begun_by_another() -> bool:
    """Whether this is a process of `multiprocessing`."""
    processes: Any = sys.modules.get("multiprocessing.process")
    return processes is not None and processes.parent_process() is not None


def _end_silently(ours: Callable[..., Any]) -> None:
    """In a process that was begun: Ctrl-C is for who began it to speak of."""
    if signal.getsignal(signal.SIGINT) is ours:
        signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED))
