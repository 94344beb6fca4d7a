"""Ask the app and the docs example for many people's pages, side by side."""

import argparse
import os
import shutil
from contextlib import redirect_stdout
from functools import partial
from statistics import median
from subprocess import STDOUT, check_output
from tempfile import NamedTemporaryFile

from .servers import APP, BARE, CROWD, DOCS, DOUBLE, REDIS, Server

CERT = """openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes
-subj /CN=double -addext subjectAltName=IP:127.0.0.1 -keyout {0} -out {0}"""
TLS = "GRANIAN_SSL_CERTIFICATE", "GRANIAN_SSL_KEYFILE"
UNSET = "SPOTIFY_CLIENT_SECRET SPOTIFY_REDIRECT_URI REDIS_URL HOST WORKERS THREADS"
HEAD = """| page | clients | Spotify | right/s | p50 ms | p99 ms | CPU ms/page | right |
calls/page | MB | start s | x rate | x CPU | x p99 |""".replace("\n", " ")
ROW = "| {} | {} | {} ms | {:,.0f} | {:,.1f} | {:,.1f} | {:.2f} | {:.1%} |"
ROW += " {:.2f} | {:,.0f} | {:.2f} | {:.2f} | {:.2f} | {:.2f} |"
GOALS = """
x: times as much as the row that has 1.00 above. Goals: of the docs example's rate 2.5
(one person: 5), CPU 0.40, p99 1.5, with 100 % right and one call a page; of the bare
Flask view's rate 0.45; two workers 1.7 (needs redis-server); 100,000 people 0.90."""
Pages = dict[str, Server]  # the keys end in a path


def compare(double: Server, rounds: int, pages: Pages, clients: int, ms: int) -> None:
    """Ask for the pages in turn (A B A B), and print the medians."""
    results: dict[str, list[list[float]]] = {what: [] for what in pages}
    for what in list(pages) * rounds:
        double.get(f"/reset?ms={ms}")
        figures = pages[what].load(what.split()[-1], clients)
        results[what].append([*figures, float(double.get("/reset"))])
    first: list[float] = []
    for what, server in pages.items():
        *row, calls = (median(values) for values in zip(*results[what], strict=True))
        row += [calls / len(server.visitors), server.memory, server.seconds]
        first = first or row
        times = [row[n] / (first[n] or 1) for n in (0, 3, 2)]
        print(ROW.format(what, clients, ms, *row, *times))


def ask_everything(double: Server, rounds: int, people: int, crowds: list[int]) -> None:
    """Put all the questions. crowds: so many more people are in the store."""
    names, put = [f"p{n:05}" for n in range(people)], partial(compare, double, rounds)
    docs, app, bare = Server(DOCS, names), Server(APP, names), Server(BARE, names[:1])
    pages = {"docs example /": docs, "app /": app, "app /now-playing": app}
    put(pages, 32, 0)
    put(pages, 256, 100)
    for one in docs, app, bare:
        one.visitors = one.visitors[:1] * people
    cached = {"app, one person (answer cache) /": app}
    put({"docs example, one person /": docs, **cached}, 32, 0)
    put({"bare Flask view /": bare, **cached}, 32, 0)
    if shutil.which("redis-server"):
        redis = f"redis://127.0.0.1:{Server(REDIS, []).port}"
        one, two = (Server(APP, names, WORKERS=n, REDIS_URL=redis) for n in "12")
        put({"app, Redis, 1 worker /": one, "app, Redis, 2 workers /": two}, 32, 0)
    beside = {f"app beside {n:,} /": Server(CROWD, names, CROWD=f"{n}") for n in crowds}
    put(beside, 32, 0)
    print(GOALS)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="less, and once")
    parser.add_argument("--plain", action="store_true", help="no TLS, so no HTTP/2")
    parser.add_argument("--out", type=argparse.FileType("w", 1), default="-")
    args, tls = parser.parse_args(), dict[str, str]()
    os.environ.update(dict.fromkeys(UNSET.split(), ""), SECRET_KEY="x" * 32)
    os.environ["SPOTIFY_CLIENT_ID"] = "benchmark"
    with NamedTemporaryFile() as pem, redirect_stdout(args.out):
        if not args.plain:
            check_output(CERT.format(pem.name).split(), stderr=STDOUT)
            os.environ["SSL_CERT_FILE"] = pem.name
            tls = dict.fromkeys(TLS, pem.name)
        double = Server(DOUBLE, [], **tls)
        os.environ["SPOTIFY_ACCOUNTS_URL"] = double.url
        os.environ["SPOTIFY_API_URL"] = f"{double.url}/v1"
        print(HEAD, "| --- |" + " ---: |" * (HEAD.count("|") - 2), sep="\n")
        crowds = [1, 10_000] if args.quick else [1, 1_000, 10_000, 100_000]
        ask_everything(double, *(1, 300) if args.quick else (3, 1_500), crowds)


if __name__ == "__main__":
    main()
