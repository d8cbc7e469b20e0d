"""nginx and Caddy with the settings that are shipped, before real web processes on loopback."""

import asyncio
import contextlib
import os
import shutil
import ssl
from asyncio.subprocess import DEVNULL, PIPE, STDOUT
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from support.packages import find_program
from support.processes import LOCALHOST, free_port
from support.waiting import eventually

DEPLOY = Path(__file__).parents[2] / "deploy"
NGINX_SITE = DEPLOY / "nginx" / "containerstacks.conf"
NGINX_EDGE = DEPLOY / "nginx" / "edge.conf"
NAME = "status.example.com"
# Where the shipped settings expect the two web processes.
UPSTREAMS = ("127.0.0.1:8080", "127.0.0.1:8090")
NGINX = find_program("nginx-light")
CADDY = find_program("caddy")

_NGINX_MAIN = """
daemon off;
pid {folder}/nginx.pid;
error_log stderr;
{user}
events {{ }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    fastcgi_temp_path {folder}/fastcgi;
    proxy_temp_path {folder}/proxy;
    scgi_temp_path {folder}/scgi;
    uwsgi_temp_path {folder}/uwsgi;
    include {folder}/site.conf;
}}
"""


@dataclass(frozen=True)
class Balancer:
    """`tls` trusts the certificate that was made for this one; its name is `localhost`."""

    url: str
    plain_port: int
    tls: ssl.SSLContext

    @contextlib.asynccontextmanager
    async def visitor(self, address: str = LOCALHOST) -> AsyncIterator[aiohttp.ClientSession]:
        """Give a client that comes from this address of the loopback network."""
        connector = aiohttp.TCPConnector(ssl=self.tls, local_addr=(address, 0), force_close=True)
        async with aiohttp.ClientSession(
            self.url, connector=connector, timeout=aiohttp.ClientTimeout(total=20)
        ) as client:
            yield client


@dataclass(frozen=True)
class Certificate:
    chain: Path
    key: Path

    @property
    def places(self) -> dict[str, str]:
        """Where the shipped settings for nginx expect it, and where it is."""
        folder = f"/etc/letsencrypt/live/{NAME}"
        return {f"{folder}/fullchain.pem": str(self.chain), f"{folder}/privkey.pem": str(self.key)}

    @classmethod
    async def signed_by_itself(cls, folder: Path) -> "Certificate":
        made = cls(folder / "fullchain.pem", folder / "privkey.pem")
        await run_to_end(
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
            *("-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"),
            *("-keyout", made.key, "-out", made.chain),
        )
        return made


def write_nginx(folder: Path, site: Path, replaced: Mapping[str, str]) -> Path:
    """Put a shipped site, with other places for what it reads and writes, under a bare main file."""
    main = folder / "nginx.conf"
    user = "user root;" if os.geteuid() == 0 else ""
    main.write_text(_NGINX_MAIN.format(folder=folder, user=user), encoding="utf-8")
    shutil.copy(DEPLOY / "nginx" / "containerstacks-proxy.conf", folder)
    text = replace_all(
        site.read_text(encoding="utf-8"), {"/var/cache/nginx/": f"{folder}/cache-", **replaced}
    )
    (folder / "site.conf").write_text(text, encoding="utf-8")
    return main


@contextlib.asynccontextmanager
async def nginx(folder: Path, ports: Sequence[int]) -> AsyncIterator[Balancer]:
    async with _nginx(folder, NGINX_SITE, _upstreams(ports)) as balancer:
        yield balancer


@contextlib.asynccontextmanager
async def edge(
    folder: Path, port: int, *, tls: bool = True, sockets_max: int = 10_000
) -> AsyncIterator[Balancer]:
    """Run the edge before an origin on this port, without TLS between the two; without `tls` on the plain port only."""
    replaced = {
        "limit_conn containerstacks_sockets 10000;": f"limit_conn containerstacks_sockets {sockets_max};",
        "https://containerstacks_origin": "http://containerstacks_origin",
        "origin.example.com:443": f"{LOCALHOST}:{port}",
    }
    if not tls:
        replaced["return 308 https://$host$request_uri;"] = (
            "proxy_cache containerstacks_edge; proxy_cache_lock on; proxy_set_header Accept-Encoding gzip;"
            " gunzip on; proxy_pass http://containerstacks_origin;"
        )
    async with _nginx(folder, NGINX_EDGE, replaced) as balancer:
        yield balancer


@contextlib.asynccontextmanager
async def _nginx(folder: Path, site: Path, upstreams: Mapping[str, str]) -> AsyncIterator[Balancer]:
    certificate = await Certificate.signed_by_itself(folder)
    plain, secure = free_port(), free_port()
    main = write_nginx(
        folder,
        site,
        {
            **certificate.places,
            "    listen [::]:80;\n": "",
            "    listen [::]:443 ssl http2;\n": "",
            "listen 80;": f"listen {LOCALHOST}:{plain};",
            "listen 443 ssl": f"listen {LOCALHOST}:{secure} ssl",
            NAME: "localhost",
            **upstreams,
        },
    )
    assert NGINX is not None
    async with _running(folder, secure, plain, certificate, NGINX, "-p", folder, "-c", main) as balancer:
        yield balancer


@contextlib.asynccontextmanager
async def caddy(folder: Path, ports: Sequence[int]) -> AsyncIterator[Balancer]:
    certificate = await Certificate.signed_by_itself(folder)
    plain, secure = free_port(), free_port()
    shipped = (DEPLOY / "caddy" / "Caddyfile").read_text(encoding="utf-8")
    file = folder / "Caddyfile"
    # Its own ports and certificate; everything else is as shipped.
    file.write_text(
        replace_all(
            shipped,
            {
                "{\n\tservers {": f"{{\n\tadmin off\n\thttp_port {plain}\n\thttps_port {secure}\n"
                f"\tdefault_bind {LOCALHOST}\n\tservers {{",
                f"\n{NAME} {{": f"\nlocalhost {{\n\ttls {certificate.chain} {certificate.key}",
                **_upstreams(ports),
            },
        ),
        encoding="utf-8",
    )
    assert CADDY is not None
    command = (CADDY, "run", "--adapter", "caddyfile", "--config", file)
    async with _running(folder, secure, plain, certificate, *command) as balancer:
        yield balancer


async def run_to_end(*command: str | Path, **environment: str) -> str:
    """Run a program that must succeed, and return what it printed."""
    process = await asyncio.create_subprocess_exec(
        *command, env={**os.environ, **environment}, stdin=DEVNULL, stdout=PIPE, stderr=STDOUT
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, (command, output.decode())
    return output.decode()


def replace_all(text: str, replaced: Mapping[str, str]) -> str:
    """Replace what must be there: a shipped file that says it otherwise is not what is being tried."""
    for old, new in replaced.items():
        assert old in text, old
        text = text.replace(old, new)
    return text


def _upstreams(ports: Sequence[int]) -> dict[str, str]:
    return {shipped: f"{LOCALHOST}:{port}" for shipped, port in zip(UPSTREAMS, ports, strict=True)}


@contextlib.asynccontextmanager
async def _running(
    folder: Path, secure: int, plain: int, certificate: Certificate, *command: str | Path
) -> AsyncIterator[Balancer]:
    log = folder / "balancer.log"
    home = {"HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *command, env={**os.environ, **home}, stdin=DEVNULL, stdout=output, stderr=output
        )
    balancer = Balancer(
        f"https://localhost:{secure}", plain, ssl.create_default_context(cafile=certificate.chain)
    )

    async def answers() -> bool:
        assert process.returncode is None, log.read_text(encoding="utf-8")
        async with balancer.visitor() as client:
            try:
                async with client.get("/readyz") as answer:
                    return answer.status == 200
            except (OSError, aiohttp.ClientError):
                return False

    try:
        await eventually(answers)
        yield balancer
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
