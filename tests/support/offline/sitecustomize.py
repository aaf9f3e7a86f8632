"""Imported by Python itself when the folder is on its path: every look-up of a name but this machine's own fails."""

import socket

_look_up = socket.getaddrinfo


def _only_here(host, *arguments, **options):
    if host not in (None, "", "localhost", "127.0.0.1", "::1", "0.0.0.0", b"127.0.0.1", b"localhost"):
        raise socket.gaierror(socket.EAI_NONAME, "no network in this test")
    return _look_up(host, *arguments, **options)


socket.getaddrinfo = _only_here
