"""An independent SMTP server for tests: accepts mails, checks them strictly, and prints what it received.

It prints one JSON object per line: first {"port": …}, then one for each accepted mail. Some addresses are special:
refuse@ is refused for good, defer@ is deferred each time, once@ only the first time; spam@ is refused after DATA. The
sender nobody@ is refused. The server ends when its standard input is closed.
"""

import argparse
import asyncio
import base64
import email
import email.policy
import json
import logging
import ssl
import sys
import warnings

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

KNOWN_ONCE = ["date", "from", "to", "subject", "message-id", "mime-version", "content-type"]


def emit(**what):
    print(json.dumps(what), flush=True)


def complaints(raw):
    """What a strict server objects to in this mail."""
    lines = raw.split(b"\r\n")
    if lines[-1] != b"":
        yield "the last line is not terminated"
    for number, line in enumerate(lines, 1):
        if len(line) > 998:
            yield f"line {number} has {len(line)} bytes"
        if b"\r" in line or b"\n" in line:
            yield f"line {number} contains a lone CR or LF"
        if b"\0" in line or not line.isascii():
            yield f"line {number} contains NUL or non-ASCII bytes"
    message = email.message_from_bytes(raw, policy=email.policy.default)
    for name in KNOWN_ONCE:
        if len(message.get_all(name, [])) != 1:
            yield f"{name} occurs {len(message.get_all(name, []))} times"
    for header in message.values():
        for defect in getattr(header, "defects", []):
            yield f"{header!r}: {defect!r}"
    for part in message.walk():
        for defect in part.defects:
            yield f"{part.get_content_type()}: {defect!r}"
    if [part.get_content_type() for part in message.walk()] != ["multipart/alternative", "text/plain", "text/html"]:
        yield "the parts are not text and HTML as alternatives"


class Handler:
    def __init__(self, token):
        self.seen = set()
        self.token = token

    async def auth_XOAUTH2(self, server, arguments):
        response = base64.b64decode(arguments[1]).decode()
        user = response.split("\x01")[0].removeprefix("user=")
        if response == f"user={user}\x01auth=Bearer {self.token}\x01\x01":
            return AuthResult(success=True, auth_data=LoginPassword(user.encode(), b""))
        # The client has to answer this challenge with an empty line.
        await server.push("334 " + base64.b64encode(b'{"status":"401","schemes":"bearer mac"}').decode())
        if (await server._reader.readline()).strip() != b"":
            await server.push("501 5.5.2 expected an empty line")
            return AuthResult(success=False, handled=True)
        return AuthResult(success=False, handled=False)

    async def handle_MAIL(self, server, session, envelope, address, options):
        if address.startswith("nobody@"):
            return "550 5.7.1 sender not allowed here"
        envelope.mail_from = address
        return "250 2.1.0 ok"

    async def handle_RCPT(self, server, session, envelope, address, options):
        user = address.split("@")[0]
        if user == "refuse":
            return "550 5.1.1 no such user here"
        if user == "defer" or (user == "once" and address not in self.seen):
            self.seen.add(address)
            return "451 4.7.1 greylisted, come again"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 ok"

    async def handle_DATA(self, server, session, envelope):
        if envelope.rcpt_tos[0].startswith("spam@"):
            return "554 5.7.1 looks like spam"
        raw = envelope.original_content
        secured = session.ssl is not None or server.transport.get_extra_info("ssl_object") is not None
        user = session.auth_data.login.decode() if session.authenticated else None
        emit(
            hello=session.host_name,
            sender=envelope.mail_from,
            recipients=envelope.rcpt_tos,
            peer=session.peer[1],
            tls=secured,
            user=user,
            complaints=list(complaints(raw)),
            mail=raw.decode("latin-1"),
        )
        return "250 2.0.0 taken"


def authenticator(wanted):
    def authenticate(server, session, envelope, mechanism, data):
        given = f"{data.login.decode()}:{data.password.decode()}"
        return AuthResult(success=given == wanted, handled=False, auth_data=data)

    return authenticate


async def main():
    # aiosmtpd warns about authentication without STARTTLS, which is intended here.
    warnings.simplefilter("ignore")
    logging.getLogger("mail.log").setLevel(logging.ERROR)
    parser = argparse.ArgumentParser()
    parser.add_argument("--tls", choices=["none", "starttls", "tls"], default="none")
    parser.add_argument("--certificate", nargs=2, metavar=("CERTIFICATE", "KEY"))
    parser.add_argument("--auth", metavar="USER:PASSWORD", help="demand authentication as this user")
    parser.add_argument("--only-login", action="store_true", help="offer AUTH LOGIN alone")
    parser.add_argument("--token", help="offer AUTH XOAUTH2 alone, and take this token")
    arguments = parser.parse_args()

    context = None
    if arguments.certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*arguments.certificate)
    options = {"hostname": "mail.test", "enable_SMTPUTF8": False}
    if arguments.tls == "starttls":
        options |= {"tls_context": context, "require_starttls": True}
    if arguments.auth:
        options |= {
            "authenticator": authenticator(arguments.auth),
            "auth_required": True,
            "auth_require_tls": arguments.tls == "starttls",
            "auth_exclude_mechanism": ["XOAUTH2", "PLAIN"] if arguments.only_login else ["XOAUTH2"],
        }
    if arguments.token:
        options |= {"auth_required": True, "auth_require_tls": False, "auth_exclude_mechanism": ["PLAIN", "LOGIN"]}
    handler = Handler(arguments.token)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: SMTP(handler, **options), "127.0.0.1", 0, ssl=context if arguments.tls == "tls" else None
    )
    emit(port=server.sockets[0].getsockname()[1])
    await loop.run_in_executor(None, sys.stdin.read)


asyncio.run(main())
