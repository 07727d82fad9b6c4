"""How fast stores move a checkpoint: MB/s up and down, against boto3's and Google's own transfers in the same run.

    python tests/bench/bench_stores.py [--mb 2048] [--rounds 1] [--kinds s3,gs] [--folder FOLDER] [--faults]
        [--threads 4]

The emulators are processes of their own on loopback, so it is the client that is compared: the same file, the same
server, each in turn, with as many requests at a time and parts as large. The emulator of S3 copies the whole object for
each part that is asked for: at 2 GB give it `--threads 1`, or gigabytes for each thread. Ours also computes a SHA-256
before and after, which the peers do not. `--faults` puts the proxy of the tests in between, which cuts, truncates and
spoils, and tells what was sent again. Asserts nothing but that what came back is what went up.
"""

from __future__ import annotations

import argparse
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from tasks.stores.opening import open_store  # noqa: E402
from tasks.stores.retry import Patience  # noqa: E402
from tasks.stores.store import PART_BYTES, THREADS, digest_of  # noqa: E402
from tests.support.fault_proxy import Fault, Seen, fault_proxy  # noqa: E402

MB = 1_000_000
BUCKET = "bench"
SERVERS = {
    "s3": "from moto.server import main; main(['-H', '127.0.0.1', '-p', '{port}'])",
    "gs": "from gcp_storage_emulator.server import create_server as c; "
    "c('127.0.0.1', {port}, in_memory=True, default_bucket='bench').run()",
}
Move = Callable[[Path, str], None]


def main() -> int:
    """Print a table for each kind of store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mb", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--kinds", default="s3,gs")
    parser.add_argument("--folder", type=Path, default=None)
    parser.add_argument("--faults", action="store_true")
    parser.add_argument("--threads", type=int, default=THREADS)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.folder) as name:
        folder = Path(name)
        source = folder / "model.safetensors"
        write_content(source, asked.mb)
        for kind in asked.kinds.split(","):
            with server(kind) as port:
                if asked.faults:
                    through_faults(kind, port, source, folder, threads=asked.threads)
                else:
                    against_peer(kind, port, source, folder, rounds=asked.rounds, threads=asked.threads)
    return 0


def against_peer(kind: str, port: int, source: Path, folder: Path, *, rounds: int, threads: int) -> None:
    """Ours and theirs, in turn."""
    os.environ.update(environment(kind, f"http://127.0.0.1:{port}"))
    store = open_store(f"{kind}://{BUCKET}/ours", threads=threads)
    their_up, their_down = PEERS[kind](threads)
    size_mb = source.stat().st_size / MB
    tell(f"{kind}: {size_mb:.0f} MB, {os.cpu_count()} cores, {threads} threads, best of {rounds}")
    moves: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
        "upload": (lambda: store.put_file(source, "model"), lambda: their_up(source, "theirs")),
        "download": (
            lambda: store.get_file("model", folder / "ours"),
            lambda: their_down(folder / "theirs", "theirs"),
        ),
    }
    for what, (ours, theirs) in moves.items():
        ours_s, theirs_s = [], []
        # In turn, for a busy machine is not as busy all the time.
        for at in range(rounds):
            if what == "upload" and at:
                store.delete(["model"])
            ours_s.append(timed(ours))
            theirs_s.append(timed(theirs))
        speeds = f"ours {size_mb / min(ours_s):7.0f} MB/s   plain {size_mb / min(theirs_s):7.0f} MB/s"
        tell(f"  {what:<9} {speeds}   ratio {min(theirs_s) / min(ours_s):.2f}")
    hash_s = timed(lambda: digest_of(source))
    tell(f"  of ours, SHA-256 of the file took {hash_s:.1f} s each way")
    check(source, folder / "ours")


def through_faults(kind: str, port: int, source: Path, folder: Path, *, threads: int) -> None:
    """Ours alone, with faults on the way."""
    with fault_proxy(port) as proxy:
        os.environ.update(environment(kind, proxy.url))
        patience = Patience(first_pause_s=0.05, longest_pause_s=1.0)
        store = open_store(f"{kind}://{BUCKET}/faults", patience=patience, threads=threads)
        chooser = random.Random(1)

        def is_content(seen: Seen) -> bool:
            return (seen.body_bytes > MB or seen.range is not None) and chooser.random() < 0.05

        # A wrong byte in a session of Google's is only seen at its end, where all is sent again.
        for fault in Fault:
            rare = fault in (Fault.WRONG_REQUEST, Fault.WRONG_ANSWER)
            proxy.fail(fault, is_content, times=1 if rare else 3)
        up_s = timed(lambda: store.put_file(source, "model"))
        down_s = timed(lambda: store.get_file("model", folder / "faulty"))
        moved = sum(seen.body_bytes + seen.sent_bytes for seen in proxy.seen)
        faults = [str(seen.fault) for seen in proxy.seen if seen.fault is not None]
    size = source.stat().st_size
    tell(f"{kind}: {size / MB:.0f} MB through {len(faults)} faults: {', '.join(sorted(set(faults)))}")
    times = f"up {up_s:.1f} s, down {down_s:.1f} s"
    tell(f"  {times}, {store.retries} tries again, moved {moved / 2 / size:.2f} times its size")
    check(source, folder / "faulty")


def check(source: Path, back: Path) -> None:
    """What came back is what went up."""
    if digest_of(source) != digest_of(back):
        raise SystemExit(f"{back} is not what was sent")
    tell("  what came back is what went up")
    for file in back.parent.glob("*"):
        if file != source:
            file.unlink()


def tell(text: str) -> None:
    """A line, at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def timed(call: Callable[[], object]) -> float:
    """Seconds of one call."""
    started_s = time.perf_counter()
    call()
    return time.perf_counter() - started_s


def environment(kind: str, url: str) -> dict[str, str]:
    """In which clients find the emulator."""
    if kind == "gs":
        return {"STORAGE_EMULATOR_HOST": url, "GOOGLE_CLOUD_PROJECT": "test"}
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
    return keys | {"AWS_ENDPOINT_URL_S3": url, "AWS_EC2_METADATA_DISABLED": "true"}


def plain_s3(threads: int) -> tuple[Move, Move]:
    """boto3's managed transfers, with parts as large as ours and no more requests at a time."""
    import boto3
    from boto3.s3.transfer import TransferConfig
    from botocore.config import Config

    client = boto3.client("s3", config=Config(read_timeout=300))
    up = TransferConfig(max_concurrency=threads, use_threads=threads > 1, multipart_chunksize=PART_BYTES)
    down = TransferConfig(max_concurrency=threads, use_threads=threads > 1, multipart_chunksize=4 * PART_BYTES)
    return (
        lambda path, key: client.upload_file(str(path), BUCKET, key, Config=up),
        lambda path, key: client.download_file(BUCKET, key, str(path), Config=down),
    )


def plain_gs(threads: int) -> tuple[Move, Move]:
    """google-cloud-storage's transfers with their defaults, which are one request at a time."""
    from google.cloud import storage

    bucket = storage.Client().bucket(BUCKET)
    return (
        lambda path, key: bucket.blob(key).upload_from_filename(str(path)),
        lambda path, key: bucket.blob(key).download_to_filename(str(path)),
    )


PEERS: dict[str, Callable[[int], tuple[Move, Move]]] = {"s3": plain_s3, "gs": plain_gs}


@contextmanager
def server(kind: str) -> Iterator[int]:
    """An emulator with one bucket."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = int(listener.getsockname()[1])
    command = [sys.executable, "-c", SERVERS[kind].format(port=port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(port, process)
        if kind == "s3":
            request = urllib.request.Request(f"http://127.0.0.1:{port}/{BUCKET}", method="PUT")
            urllib.request.urlopen(request, timeout=20).close()
        yield port
    finally:
        process.kill()
        process.wait()


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    """Until the emulator answers."""
    for _ in range(300):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=2).close()
            return
        except urllib.error.HTTPError:
            return
        except OSError:
            if process.poll() is not None:
                break
            time.sleep(0.1)
    raise SystemExit("the emulator did not start: pip install 'moto[s3,server]' gcp-storage-emulator")


def write_content(path: Path, mb: int) -> None:
    """Bytes that do not compress."""
    chooser = random.Random(0)
    with path.open("wb") as file:
        for _ in range(mb):
            file.write(chooser.randbytes(MB))


if __name__ == "__main__":
    sys.exit(main())
