"""Runs the trainings of a plan side by side, each in a process of its own, and goes on where it was stopped.

Every job's folder has a lock that its runner and its training hold together. So two runners never train the same
job, whether they are started by hand or as the processes of `torchrun`: each walks the list and takes the next
job that is neither done nor locked, which balances the work by itself. A training whose runner dies ends itself.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from models import zoo
from models.checkpoints import CheckpointError
from models.files import write_text
from xai.zoo_place import Place, command, place
from xai.zoo_plan import Job
from xai.zoo_state import (
    FAILED_FILE,
    LOCK_FILE,
    LOG_FILE,
    Progress,
    Settings,
    State,
    curve_time,
    is_done,
    progress,
    state,
    take_lock,
    teacher_done,
)

CHILD: tuple[str, ...] = (sys.executable, "-m", "xai.zoo_run")
POLL_SECONDS = 0.5
GRACE_SECONDS = 10.0

_ERROR = re.compile(r"^(python -m xai: |[\w.]*(Error|Exception|Interrupt)\b)")
_NO_MEMORY = re.compile(r"OutOfMemoryError|out of memory|ALLOC_FAILED")

Show = Callable[[list[Progress]], None]
Note = Callable[[str], None]


@dataclass
class _Training:
    job: Job
    process: subprocess.Popen[bytes]
    lock: BinaryIO
    gigabytes: float
    began: float


def run(
    jobs: Sequence[Job], settings: Settings, *, show: Show | None = None, note: Note = print
) -> tuple[dict[str, State], int]:
    """Train all jobs that are not done; returns where each stands by name, and the signal that stopped it, or 0.

    Ends when every job is done, has failed in this call or lacks what it needs; after `settings.seconds`; or on
    SIGINT or SIGTERM, when the trainings are ended too, each with its last whole epoch stored. Raises
    `ValueError` when this machine doesn't have the device.
    """
    runner = _Runner(jobs, settings, place(settings), show or (lambda _rows: None), note)
    with _signals(runner):
        runner.loop()
    open_jobs = [job for job in jobs if job.name not in runner.settled]
    return {**runner.settled, **{job.name: state(job, settings) for job in open_jobs}}, runner.signal


@contextlib.contextmanager
def _signals(runner: _Runner) -> Iterator[None]:
    def stop(number: int, _frame: object) -> None:
        runner.signal = number

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Runner:
    """The trainings under way, and the jobs on which nothing is left to do, by name."""

    def __init__(self, jobs: Sequence[Job], settings: Settings, room: Place, show: Show, note: Note) -> None:
        first = int(os.environ.get("RANK", "0")) % max(1, len(jobs))
        self.jobs = [*jobs[first:], *jobs[:first]]
        self.names = {job.name for job in jobs}
        self.settings, self.place, self.show, self.note = settings, room, show, note
        self.running: dict[str, _Training] = {}
        self.settled: dict[str, State] = {}
        self.alone: set[str] = (
            set()
        )  # ran out of the GPU's memory once, and have it to themselves the next time
        self.began, self.signal = time.time(), 0

    def loop(self) -> None:
        """Start, watch and settle until there is nothing to wait for, or a signal or the time ends it."""
        try:
            while len(self.settled) < len(self.jobs) and not self._must_stop():
                self._reap()
                for job in self.jobs:
                    if len(self.running) >= self.place.slots or self._must_stop():
                        break
                    if job.name not in self.settled and job.name not in self.running:
                        self._consider(job)
                self.show([self._progress(training) for training in self.running.values()])
                time.sleep(POLL_SECONDS if len(self.settled) < len(self.jobs) else 0)
        finally:
            self._end_all()

    def _must_stop(self) -> bool:
        limit = self.settings.seconds
        return bool(self.signal) or (limit is not None and time.time() - self.began > limit)

    def _settle(self, job: Job, found: State) -> None:
        self.settled[job.name] = found
        if found.kind != "done":
            self.note(f"{found.kind} {job.name}: {found.detail}")

    def _consider(self, job: Job) -> None:
        """Start the job if nothing stands against it, or settle it; otherwise it stays open."""
        failure = self.settings.out / job.name / FAILED_FILE
        if is_done(job, self.settings):
            self._settle(job, state(job, self.settings))
        elif failure.is_file() and failure.stat().st_mtime >= self.began:
            self._settle(job, State("failed", failure.read_text(encoding="utf-8").strip()))
        elif job.teacher and not teacher_done(job, self.settings):
            if job.teacher not in self.names or job.teacher in self.settled:
                self._settle(job, State("needs", f"{job.teacher}, which is not trained."))
        elif self._fits(job):
            self._take(job)

    def _fits(self, job: Job) -> bool:
        if not self.running:
            return True
        if not self.alone.isdisjoint([job.name, *self.running]):
            return False
        taken = sum(training.gigabytes for training in self.running.values())
        return taken + job.gigabytes <= self.place.gigabytes

    def _take(self, job: Job) -> None:
        lock = take_lock(self.settings.out / job.name)
        if lock is None:
            return
        # another runner may have finished it, or failed, between the look and the lock: then the next round settles it
        failure = self.settings.out / job.name / FAILED_FILE
        if is_done(job, self.settings) or (failure.is_file() and failure.stat().st_mtime >= self.began):
            lock.close()
            return
        missing = _missing(job)
        if missing:
            lock.close()
            self._settle(job, State("needs", f"{job.initial}: {missing}"))
            return
        self._start(job, lock)

    def _start(self, job: Job, lock: BinaryIO) -> None:
        folder = self.settings.out / job.name
        _clean(folder)
        with (folder / LOG_FILE).open("wb") as log:
            process = subprocess.Popen(
                [*CHILD, *command(job, self.settings)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self.place.environment,
                start_new_session=True,
                pass_fds=(lock.fileno(),),
            )
        gigabytes = 0.0 if math.isinf(self.place.gigabytes) else job.gigabytes
        self.running[job.name] = _Training(job, process, lock, gigabytes, time.time())
        self.note(f"started {job.name}")

    def _reap(self) -> None:
        for name, training in list(self.running.items()):
            status = training.process.poll()
            if status is None:
                continue
            if is_done(training.job, self.settings) and status == 0:
                self.settled[name] = state(training.job, self.settings)
                self.note(f"done {name}: {self.settled[name].detail}")
            else:
                self._fail(training.job, _reason(self.settings.out / name, status))
            self._release(name)

    def _fail(self, job: Job, reason: str) -> None:
        """Settle the job as failed, unless it may do better alone: then it stays open."""
        if _NO_MEMORY.search(reason) and job.name not in self.alone:
            self.alone.add(job.name)
            self.note(f"once more, alone {job.name}: {reason}")
            return
        write_text(self.settings.out / job.name / FAILED_FILE, reason + "\n")
        self._settle(job, State("failed", reason))

    def _release(self, name: str) -> None:
        training = self.running.pop(name)
        if training.process.stdin:
            training.process.stdin.close()
        training.lock.close()

    def _progress(self, training: _Training) -> Progress:
        folder = self.settings.out / training.job.name
        since = time.time() - max(training.began, curve_time(folder))
        return progress(training.job, self.settings, since)

    def _end_all(self) -> None:
        """End the trainings that still run; what they stored after their last whole epoch stays."""
        for training in self.running.values():
            _kill(training.process, signal.SIGTERM)
        until = time.time() + GRACE_SECONDS
        for name, training in list(self.running.items()):
            try:
                training.process.wait(max(0.0, until - time.time()))
            except subprocess.TimeoutExpired:
                _kill(training.process, signal.SIGKILL)
                training.process.wait()
            self._release(name)


def _kill(process: subprocess.Popen[bytes], number: int) -> None:
    """Send a signal to a training and what it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _clean(folder: Path) -> None:
    """Remove what a killed training and an earlier failure left; only the holder of the lock may."""
    (folder / FAILED_FILE).unlink(missing_ok=True)
    for path in folder.glob(".*"):
        if path.name != LOCK_FILE:
            path.unlink()


def _missing(job: Job) -> str:
    """Why the weights that the job starts from can't be had, in one sentence, or nothing."""
    if job.initial:
        try:
            zoo.load(job.initial)
        except CheckpointError as error:
            return str(error)
    return ""


def _reason(folder: Path, status: int) -> str:
    """The last error line of a training's log, or else how it ended."""
    text = (folder / LOG_FILE).read_text(encoding="utf-8", errors="replace")
    lines = [line.strip() for line in re.split(r"[\r\n]+", text) if line.strip()]
    errors = [line for line in lines if _ERROR.match(line)]
    if errors:
        return errors[-1].removeprefix("python -m xai: ")
    if status < 0:
        return f"it was ended by {signal.Signals(-status).name}."
    return lines[-1] if lines and status else f"it ended with status {status} and left no finished card."


def _end_with_the_runner() -> None:
    """Wait until the runner's end of the pipe on standard input is closed, which its death does too, then end."""
    while os.read(0, 1):
        pass
    os.killpg(os.getpid(), signal.SIGKILL)


def train_as_child(arguments: Sequence[str]) -> int:
    """Run one command of `python -m xai` as the child of a runner, with which it ends; returns the exit status."""
    threading.Thread(target=_end_with_the_runner, daemon=True).start()
    from xai.cli import main

    return main(arguments)


if __name__ == "__main__":
    sys.exit(train_as_child(sys.argv[1:]))
