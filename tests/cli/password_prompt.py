#!/usr/bin/python3
"""password_prompt.py ETCD-CTL - a terminal shows what is typed again, however the question for a password ends."""
import os
import pty
import signal
import socket
import sys
import termios
import threading
import time

CTL = os.path.abspath(sys.argv[1])
LIMIT_S = 30


def shows(terminal):
    return bool(termios.tcgetattr(terminal)[3] & termios.ECHO)


def until(fact):
    end = time.monotonic() + LIMIT_S
    while not fact():
        if time.monotonic() > end:
            sys.exit("password_prompt: waited in vain")
        time.sleep(0.005)


def ask(typed=b"", number=None, ignored=None, port=1, timeout="200ms"):
    """The wait status of a client whose question was answered so, and whether the terminal shows what is typed then."""
    child, terminal = pty.fork()
    if child == 0:
        if ignored is not None:
            signal.signal(ignored, signal.SIG_IGN)
        os.execv(CTL, [CTL, f"--endpoints=127.0.0.1:{port}", f"--command-timeout={timeout}", "--user=x", "get", "a"])
    until(lambda: not shows(terminal))
    os.write(terminal, typed)
    if number is not None:
        os.kill(child, number)
    ended = []
    until(lambda: ended.append(os.waitpid(child, os.WNOHANG)) or ended[-1][0] != 0)
    shown = shows(terminal)
    os.close(terminal)
    return os.waitstatus_to_exitcode(ended[-1][1]), shown


def read_secret(listener, sent):
    """What the client sends, up to the password; then nobody is there any more."""
    listener.settimeout(LIMIT_S)
    connection = listener.accept()[0]
    listener.close()
    with connection:
        connection.settimeout(LIMIT_S)
        while b"secret" not in b"".join(sent) and (piece := connection.recv(65536)):
            sent.append(piece)


def ask_on():
    """As ask() where control-C is ignored, as `trap '' INT` leaves it: -1 unless the password typed after it is sent."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        sent = []
        reader = threading.Thread(target=read_secret, args=(listener, sent), daemon=True)
        reader.start()
        status, shown = ask(b"\x03secret\n", ignored=signal.SIGINT, port=listener.getsockname()[1], timeout="20s")
        reader.join(LIMIT_S)
    return (status if b"secret" in b"".join(sent) else -1), shown


def main():
    wrong = 0
    for title, wanted, found in (("a password", 1, ask(b"secret\n")), ("the end of the input", 1, ask(b"\x04")),
                                 ("control-C", -signal.SIGINT, ask(b"\x03")), ("control-\\", -signal.SIGQUIT, ask(b"\x1c")),
                                 ("SIGTERM", -signal.SIGTERM, ask(number=signal.SIGTERM)),
                                 ("SIGHUP", -signal.SIGHUP, ask(number=signal.SIGHUP)), ("control-C, ignored", 1, ask_on())):
        if found != (wanted, True):
            wrong += 1
            print(f"not ok - {title}: status {found[0]} (wanted {wanted}), echo {'on' if found[1] else 'off'}")
    print(f"password prompt: {7 - wrong} passed, {wrong} failed")
    sys.exit(wrong != 0)


main()
