"""Names below an allowed root that no tool reads, and names that none writes."""

from __future__ import annotations

import unicodedata
from fnmatch import fnmatchcase

# Keys and passwords.
_SECRET = (
    *(".ssh", ".gnupg", ".aws", ".azure", ".kube", ".docker", ".password-store", ".mozilla"),
    *(".netrc", "_netrc", ".git-credentials", ".pgpass", ".npmrc", ".pypirc", ".htpasswd"),
    *(".env", ".env.local", ".env.*.local", ".env.production", ".env.staging", ".env.development"),
    *(".bash_history", ".zsh_history", ".python_history", ".node_repl_history", ".psql_history"),
    *("id_rsa*", "id_dsa*", "id_ecdsa*", "id_ed25519*", "*.kdbx", "*.pem", "*.p12", "*.pfx"),
    *("keychains", ".vault-token", ".terraformrc", ".boto", ".s3cfg"),
)
# What makes another program run something, or a text that a shell reads at its start.
_READ_ONLY = (
    *(".git", ".hg", ".svn", ".gitconfig", ".gitmodules", ".envrc", ".vscode", ".idea"),
    *(".bashrc", ".bash_profile", ".bash_login", ".bash_logout", ".bash_aliases", ".profile"),
    *(".inputrc", ".xprofile", ".xinitrc", ".xsession", ".xsessionrc", ".pam_environment"),
    *(".zshrc", ".zshenv", ".zprofile", ".zlogin", ".zlogout", ".kshrc", ".cshrc", ".tcshrc"),
    *(".vimrc", ".exrc", ".emacs", ".tmux.conf", ".pythonrc", ".pdbrc", ".gdbinit"),
    *("autostart", "launchagents", "launchdaemons", "crontabs", ".husky", ".config", ".local"),
)


def folded(name: str) -> str:
    """``name`` as file systems compare it that ignore case, width and invisible characters."""
    visible = "".join(each for each in name if unicodedata.category(each) != "Cf")
    return unicodedata.normalize("NFKC", visible).casefold().rstrip(". ")


def is_secret(name: str) -> bool:
    """Whether a file or folder of this name holds keys or passwords."""
    return _is_named(name, _SECRET)


def is_read_only(name: str) -> bool:
    """Whether a file or folder of this name must not be written, secrets included."""
    return is_secret(name) or _is_named(name, _READ_ONLY)


def _is_named(name: str, patterns: tuple[str, ...]) -> bool:
    name = folded(name)
    return any(fnmatchcase(name, pattern) for pattern in patterns)
