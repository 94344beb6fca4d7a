"""Ask the app and the docs example for many people's pages, side by side."""

import argparse
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from statistics import median
from typing import TextIO

from .servers import APP, BARE, CROWD, DOCS, DOUBLE, REDIS, Server

CERTIFY = """openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes
-subj /CN=x -addext subjectAltName=IP:127.0.0.1 -keyout key.pem -out cert.pem"""
UNSET = (
    "SPOTIFY_CLIENT_SECRET SPOTIFY_REDIRECT_URI SECRET_KEY REDIS_URL WORKERS THREADS"
)
HEAD = """| page | clients | Spotify | right/s | p50 ms | p99 ms | CPU ms/page | right |
calls/page | MB | start s | x rate | x CPU | x p99 |""".replace("\n", " ")
ROW = "| {} | {} | {} ms | {:,.0f} | {:,.1f} | {:,.1f} | {:.2f} | {:.1%} |"
ROW += " {:.2f} | {:,.0f} | {:.2f} | {:.2f} | {:.2f} | {:.2f} |"
GOALS = """
x: times as much as the row that has 1.00 above. Goals: of the docs example's rate 2.5
(one person: 5), CPU 0.40, p99 1.5, with 100 % right and one call a page; of the bare
Flask view's rate 0.45; two workers 1.7; beside 100,000 people 0.90."""


@dataclass
class Benchmark:
    """So many people and rounds, the double, and a file for the table."""

    people: int
    rounds: int
    double: Server
    out: TextIO

    def compare(self, pages: dict[str, Server], clients: int = 32, ms: int = 0) -> None:
        """Ask for the pages in turn (A B A B), and print the medians."""
        turns = [
            [self.ask(*page, clients, ms) for page in pages.items()]
            for _ in range(self.rounds)
        ]
        rows = [
            [*map(median, zip(*rounds, strict=True))]
            for rounds in zip(*turns, strict=True)
        ]
        for what, row in zip(pages, rows, strict=True):
            times = [row[n] / (rows[0][n] or 1) for n in (0, 3, 2)]
            print(ROW.format(what, clients, ms, *row, *times), file=self.out)

    def ask(self, what: str, server: Server, clients: int, ms: int) -> list[float]:
        """Return a row's figures of one round. The page is the last word of `what`."""
        self.double.get(f"/reset?ms={ms}")
        figures = server.load(what.split()[-1], clients)
        calls = int(self.double.get("/reset")) / self.people
        return [*figures, calls, server.memory, server.seconds]

    def start(self, command: str, people: int = 0, **settings: str) -> Server:
        """Start a server and log everybody in; if only some, they ask in turn."""
        server, count = Server(command, **settings), people or self.people
        server.log_in([f"p{n:05}" for n in range(count)])
        server.visitors *= self.people // count
        return server

    def run(self, crowds: list[int]) -> None:
        """Put all the questions."""
        docs, app, bare = self.start(DOCS), self.start(APP), self.start(BARE, 1)
        pages = {"docs example /": docs, "app /": app, "app /now-playing": app}
        self.compare(pages)
        self.compare(pages, 256, 100)
        for server in docs, app:
            server.visitors[1:] = server.visitors[:1] * (self.people - 1)
        one = {"app, one person (answer cache) /": app}
        self.compare({"docs example, one person /": docs, **one})
        self.compare({"bare Flask view /": bare, **one})
        if shutil.which("redis-server"):
            shared = {"REDIS_URL": Server(REDIS, "redis").url, "SECRET_KEY": "x" * 32}
            self.compare(
                {
                    f"app with Redis, WORKERS={n} /": self.start(
                        APP, WORKERS=n, **shared
                    )
                    for n in "12"
                }
            )
        else:
            print("| Redis: not measured, needs redis-server |", file=self.out)
        self.compare(
            {
                f"app beside {n:,} people /": self.start(CROWD, CROWD=str(n))
                for n in crowds
            }
        )
        print(GOALS, file=self.out)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="less, and once")
    parser.add_argument("--plain", action="store_true", help="no TLS, so no HTTP/2")
    parser.add_argument("--out", default="/dev/stdout", help="where the table goes")
    args, tls = parser.parse_args(), {}
    os.environ.update(dict.fromkeys(UNSET.split(), ""), SPOTIFY_CLIENT_ID="benchmark")
    with tempfile.TemporaryDirectory() as folder, open(args.out, "w", 1) as out:
        if not args.plain:
            subprocess.run(CERTIFY.split(), cwd=folder, check=True, capture_output=True)
            tls = {
                "SSL_CERTIFICATE": f"{folder}/cert.pem",
                "SSL_KEYFILE": f"{folder}/key.pem",
            }
            os.environ["SSL_CERT_FILE"] = f"{folder}/cert.pem"
        double = Server(DOUBLE, "https" if tls else "http", **tls)
        os.environ["SPOTIFY_ACCOUNTS_URL"] = double.url
        os.environ["SPOTIFY_API_URL"] = f"{double.url}/v1"
        print(HEAD, "| --- |" + " ---: |" * (HEAD.count("|") - 2), sep="\n", file=out)
        if args.quick:
            Benchmark(300, 1, double, out).run([1, 10_000])
        else:
            Benchmark(1_500, 3, double, out).run([1, 1_000, 10_000, 100_000])


if __name__ == "__main__":
    main()
