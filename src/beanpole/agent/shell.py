"""How a user's command line is given to the shell. Pure."""

from __future__ import annotations

import shlex

_OPERATORS = ("&", "&&", "<<", "<<<")  # what a redirection such as 2>&1 is not
_BUILTINS = (
    "! . : [ { alias bg break case cd command continue eval exec exit export fg for getopts hash if jobs local read"
    " readonly return set shift source times time trap type ulimit umask unalias unset until wait while"
)
_WORDS = frozenset(_BUILTINS.split(" "))


def shell_line(command: str) -> str:
    """What `sh -c` runs. A simple command replaces the shell, so that signals and the pid are the application's own.

    Anything that only a shell can do stays with the shell; the group is signalled as a whole in either case.
    """
    return f"exec {command}" if _is_simple(command) else command


def _is_simple(command: str) -> bool:
    """Whether it is one command with its words and redirections. False when in doubt."""
    lexer = shlex.shlex(command, posix=False, punctuation_chars=True)
    lexer.commenters = ""
    lexer.whitespace_split = True
    try:
        words = list(lexer)
    except ValueError:  # quotes that do not match: the shell will say so
        return False
    if not words or "=" in words[0] or words[0] in _WORDS or any(sign in command for sign in "\n`\\"):
        return False
    signs = [word for word in words if not word.strip("();<>|&")]
    return not any(sign in _OPERATORS or any(each in sign for each in "();|") for sign in signs)
