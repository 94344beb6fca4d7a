"""Ask the app and the docs example for many people's pages, side by side."""

import argparse
import os
import shutil
from functools import partial
from statistics import median
from subprocess import STDOUT, check_output
from tempfile import NamedTemporaryFile

from .servers import APP, DOCS, DOUBLE, REDIS, Server

CERT = """openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes
-subj /CN=double -addext subjectAltName=IP:127.0.0.1 -keyout {0} -out {0}"""
TLS = "GRANIAN_SSL_CERTIFICATE", "GRANIAN_SSL_KEYFILE"
UNSET = "SPOTIFY_CLIENT_SECRET SPOTIFY_REDIRECT_URI REDIS_URL HOST WORKERS THREADS"
HEAD = """| page | clients | Spotify | right/s | p50 ms | p99 ms | CPU ms/page | right |
calls/page | MB | start s | x rate | x CPU | x p99 |""".replace("\n", " ")
ROW = "| {} | {} | {} ms | {:,.0f} | {:,.1f} | {:,.1f} | {:.2f} | {:.1%} |"
ROW += " {:.2f} | {:,.0f} | {:.2f} | {:.2f} | {:.2f} | {:.2f} |"
GOALS = """
x: times as much as the row with 1.00 above had in the same round (median). Goals: 2.5
times the docs example's rate; on Redis 1.5 times the CPU, with two workers the rate."""
Pages = dict[str, Server]  # the keys end in a path


def compare(double: Server, rounds: int, pages: Pages, clients: int, ms: int) -> None:
    """Ask for the pages in turn (A B A B), and print the medians."""
    results: dict[str, list[list[float]]] = {what: [] for what in pages}
    for what in list(pages) * rounds:
        double.get(f"/reset?ms={ms}")
        figures = pages[what].load(what.split()[-1], clients)
        results[what].append([*figures, float(double.get("/reset"))])
    for what, server in pages.items():
        *row, calls = (median(values) for values in zip(*results[what], strict=True))
        row += [calls / len(server.visitors), server.memory, server.seconds]
        both = list(zip(results[what], results[next(iter(pages))], strict=True))
        times = [median(a[n] / (b[n] or 1) for a, b in both) for n in (0, 3, 2)]
        print(ROW.format(what, clients, ms, *row, *times))


def ask_everything(double: Server, rounds: int, people: int) -> None:
    names, put = [f"p{n:05}" for n in range(people)], partial(compare, double, rounds)
    docs, app = Server(DOCS, names), Server(APP, names)
    pages = {"docs example /": docs, "app /": app, "app /now-playing": app}
    put(pages, 32, 0)
    put(pages, 256, 100)
    if shutil.which("redis-server"):
        redis = f"redis://127.0.0.1:{Server(REDIS, []).port}"
        pages = {"app, in memory /": app}
        for n in "12":
            server = Server(APP, names, WORKERS=n, REDIS_URL=redis)
            pages[f"app, Redis, workers: {n} /"] = server
        put(pages, 32, 0)
    double.visitors = [(f"Authorization: Bearer {n}", f"Song of {n}") for n in names]
    put({"Spotify's double /v1/me/player/currently-playing": double}, 32, 0)
    print(GOALS)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="less, and once")
    args = parser.parse_args()
    os.environ.update(dict.fromkeys(UNSET.split(), ""), SECRET_KEY="x" * 32)
    os.environ["SPOTIFY_CLIENT_ID"] = "benchmark"
    with NamedTemporaryFile() as pem:
        check_output(CERT.format(pem.name).split(), stderr=STDOUT)
        os.environ["SSL_CERT_FILE"] = pem.name
        double = Server(DOUBLE, [], **dict.fromkeys(TLS, pem.name))
        os.environ["SPOTIFY_ACCOUNTS_URL"] = double.url
        os.environ["SPOTIFY_API_URL"] = f"{double.url}/v1"
        print(HEAD, "| --- |" + " ---: |" * (HEAD.count("|") - 2), sep="\n")
        ask_everything(double, *(1, 300) if args.quick else (5, 1_500))


if __name__ == "__main__":
    main()
