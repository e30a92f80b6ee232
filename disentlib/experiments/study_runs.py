"""Running a study on Dask Distributed: a cluster of this machine's cores, or one that is there already."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import dask
import torch
from distributed import Client, LocalCluster, Worker, WorkerPlugin, as_completed, get_worker

from disentlib import __version__, data
from disentlib.experiments import fingerprint, job_runs, records
from disentlib.experiments.job_runs import Outcome, Share, record_failure
from disentlib.experiments.studies import Job, StudyError

__all__ = [
    "check_workers",
    "collect",
    "connected",
    "content_hashes",
    "gpus",
    "here",
    "local",
    "outcomes",
    "share_of",
    "there",
]

PATIENCE = 10  # seconds to wait for a scheduler and for its first worker
# Dask watches itself many times a second, which is a tenth of a core that two cores' trainings have better use for.
QUIET = {
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.system-monitor.interval": "5s",
    "distributed.admin.system-monitor.gil.enabled": False,
}


def content_hashes(jobs: Sequence[Job]) -> dict[tuple, str]:
    """The content hash of each data set that the jobs use, by `(dataset, source, image_size)`."""
    keys = dict.fromkeys((job.spec.dataset, job.spec.source, job.spec.image_size) for job in jobs)
    return {key: data.load(key[0], source=_asked(key[1]), image_size=key[2]).content_hash() for key in keys}


def gpus() -> tuple[str, ...]:
    """The GPUs that this process may use, by the names that CUDA_VISIBLE_DEVICES takes."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return tuple(name for name in named.split(",") if name)
    return tuple(str(number) for number in range(torch.cuda.device_count()))


def share_of(workers: int, cores: int | None = None) -> Share:
    """The share of each of `workers` workers of this machine, or of one with so many cores.

    >>> share_of(4, cores=10).threads
    2
    """
    return Share(max(1, (cores or len(os.sched_getaffinity(0))) // workers), gpus())


Execute = Callable[[Sequence[Job]], Iterator[Outcome]]


@contextmanager
def here(workers: int, threads: int | None = None) -> Iterator[Execute]:
    """A way to run jobs on this machine, `workers` at a time, with `threads` each (default: its cores, shared out)."""
    share = share_of(workers) if threads is None else Share(threads, gpus())
    with local(workers) as client:
        yield lambda jobs: outcomes(jobs, client, share)


@contextmanager
def there(address: str, threads: int | None = None) -> Iterator[Execute]:
    """A way to run jobs on the workers of a scheduler, with `threads` each (default: as the workers are set)."""
    with connected(address) as client:
        yield lambda jobs: outcomes(jobs, client, Share(threads) if threads else None)


@contextmanager
def local(workers: int) -> Iterator[Client]:
    """A cluster of `workers` processes on this machine, each of which looks after one kernel at a time."""
    with (
        dask.config.set(QUIET),
        LocalCluster(
            n_workers=workers,
            processes=True,
            threads_per_worker=1,
            memory_limit=None,  # a nanny would see the worker's memory and not the kernel's
            dashboard_address="127.0.0.1:0",  # None still asks for port 8787, and complains if another study has it
            silence_logs=50,
        ) as cluster,
        Client(cluster) as client,
    ):
        client.register_plugin(_Composed())
        yield client


class _Composed(WorkerPlugin):
    """A terminal sends Ctrl-C to workers too. They must outlive it until their kernels have written checkpoints."""

    def setup(self, worker: Worker) -> None:
        signal.signal(signal.SIGINT, lambda *_: None)  # not SIG_IGN, which kernels would inherit


@contextmanager
def connected(address: str) -> Iterator[Client]:
    """A client of the scheduler at `address`; StudyError if it cannot be reached, or has no worker that will do."""
    if not re.fullmatch(r"(tcp|tls|ws|wss|ucx)://\S+", address):
        raise StudyError(f"a scheduler's address reads tcp://host:port, got {address!r}")
    try:
        client = Client(address, timeout=PATIENCE)
    except (OSError, ValueError) as error:
        raise StudyError(f"no scheduler answers at {address} within {PATIENCE} s ({_first_line(error)})") from error
    with client:
        try:
            client.wait_for_workers(1, timeout=PATIENCE)
        except TimeoutError:
            raise StudyError(f"the scheduler at {address} has no workers") from None
        check_workers(client)
        yield client


def check_workers(client: Client) -> None:
    """StudyError if a worker cannot import this package, or has another version of it than this process."""
    ours = _version()
    for address, theirs in client.run(_version, on_error="return").items():
        if isinstance(theirs, BaseException):
            raise StudyError(f"worker {address} cannot run this study ({type(theirs).__name__}: {_first_line(theirs)})")
        if theirs != ours:
            raise StudyError(
                f"worker {address} has disentlib {theirs[0]}, code {theirs[1]}; here it is {ours[0]}, code {ours[1]}: "
                "install the same version there"
            )


def outcomes(jobs: Iterable[Job], client: Client, share: Share | None) -> Iterator[Outcome]:
    """Run the jobs and give what becomes of each as soon as it is known.

    A worker that dies loses only its own job, which goes to another one and on from its checkpoint. Closing the
    generator, or an interrupt, stops all kernels, and each writes a checkpoint first. `share`: what each worker may
    use; None leaves the workers as they are.
    """
    batch = uuid.uuid4().hex[:8]  # a scheduler may still know results of an earlier study
    futures = {
        client.submit(_on_worker, job, share, _version(), key=f"{job.id}-{batch}", pure=False): job for job in jobs
    }
    try:
        for future in as_completed(list(futures)):
            yield _outcome(futures[future], future)
    finally:
        if any(not future.done() for future in futures):
            client.cancel(list(futures))
            with contextlib.suppress(OSError, TimeoutError):
                client.run(_stop_kernels, on_error="ignore")


def _outcome(job: Job, future: object) -> Outcome:
    problem = future.exception()
    if problem is None:
        return future.result()
    error = f"{type(problem).__name__}: {problem}"  # the worker died with this job again and again
    record_failure(job, error)
    return Outcome(job, None, error)


def _on_worker(job: Job, share: Share | None, version: tuple[str, str]) -> Outcome:
    if _version() != version:  # it came after the others were asked
        raise RuntimeError(f"this worker has disentlib {_version()}, the study needs {version}")
    name = str(get_worker().name)
    environment = share.environment(int(name) if name.isdigit() else 0) if share else None
    return job_runs.run_job(job, environment)


def _version() -> tuple[str, str]:
    return __version__, fingerprint.package()


def _stop_kernels(seconds: float = 10.0) -> None:
    """Interrupt the kernels below this worker: a training answers with a checkpoint."""
    import psutil  # comes with Dask

    children = psutil.Process().children(recursive=True)
    for child in children:
        with contextlib.suppress(psutil.Error):
            child.send_signal(signal.SIGINT)
    psutil.wait_procs(children, timeout=seconds)


def _asked(source: str) -> str:
    """What to ask `load` for to get a source back: only "real" and "rendered" can be asked for."""
    return source if source in data.SOURCES else "auto"


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def collect(outcome: Outcome) -> None:
    """Put a record that came from another machine's folder among this checkout's own."""
    if outcome.record is not None and not (path := outcome.job.folder / "record.json").exists():
        records.write(outcome.record, path)
