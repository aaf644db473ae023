"""Where a store lives: its URL, its directory, and what file system that is on."""

from __future__ import annotations

import os
from pathlib import Path

from jupyter_durable.errors import StoreError

VARIABLE = "JUPYTER_DURABLE_STORE"
MEMORY = "memory:"

_SCHEME = "sqlite:///"
_NETWORK = frozenset(
    {"9p", "afs", "afpfs", "beegfs", "ceph", "cifs", "coda", "davfs", "glusterfs", "gpfs", "lustre", "ncpfs"}
    | {"nfs", "nfs3", "nfs4", "smb", "smb2", "smb3", "smbfs", "vboxsf"}
    | {f"fuse.{kind}" for kind in ("ceph", "davfs", "glusterfs", "rclone", "s3fs", "sshfs")}
)


def default_path() -> Path:
    """`<jupyter data dir>/durable/journal.db`."""
    from jupyter_core.paths import jupyter_data_dir

    return Path(jupyter_data_dir()) / "durable" / "journal.db"


def resolve(url: str | os.PathLike[str] | None) -> Path | None:
    """The file that `url` means, None for memory. Raises `StoreError` for a URL no store can open.

    `None` means the environment's `JUPYTER_DURABLE_STORE`, else the default file. As elsewhere,
    `sqlite:///name.db` is relative and `sqlite:////dir/name.db` absolute.

    >>> resolve("memory:") is None
    True
    >>> str(resolve("sqlite:////tmp/a.db"))
    '/tmp/a.db'
    """
    text = os.fspath(url) if url is not None else os.environ.get(VARIABLE, "").strip()
    if text == MEMORY:
        return None
    if text.startswith(_SCHEME):
        text = text.removeprefix(_SCHEME)
        if not text:
            raise StoreError(
                f"{_SCHEME} names no file", hint=f"write {_SCHEME}journal.db, or {MEMORY} for memory"
            )
    elif "://" in text:
        raise StoreError(
            f"no store opens {text.partition('://')[0]}:// URLs",
            hint=f"give a path, {_SCHEME}<path> or {MEMORY}",
        )
    # Resolved, so that one file reached by two paths has one key, one lock and one URL.
    return Path(text).expanduser().resolve() if text else default_path().resolve()


def to_url(path: Path) -> str:
    """The canonical URL of a file."""
    return f"{_SCHEME}{path}"


def make_directory(path: Path) -> None:
    """Make the directory a store is to live in: only this user may enter it if it is new."""
    if path.is_dir():
        return
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.chmod(0o700)
    except OSError as error:
        raise StoreError(
            f"the store's directory cannot be made: {path}: {error.strerror}",
            hint=f"choose another place: set {VARIABLE} to a path you may write",
        ) from error


def sync_directory(path: Path) -> None:
    """Make the names in a directory survive power loss."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def file_system(path: Path, mounts: str | None = None) -> str:
    """The type of the file system `path` is on, or an empty string if that cannot be told.

    `mounts` is the text of `/proc/mounts`.

    >>> file_system(Path("/home/me/x.db"), "disk / ext4 rw 0 0\\nhost:/h /home nfs4 rw 0 0")
    'nfs4'
    """
    if mounts is None:
        try:
            mounts = Path("/proc/mounts").read_text("utf-8", "surrogateescape")
        except OSError:
            return _from_psutil(path)
    best, found = -1, ""
    for line in mounts.splitlines():
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        at = Path(fields[1].replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\"))
        # `>=`: of two mounts at one place the later covers the earlier.
        if path.is_relative_to(at) and len(at.parts) >= best:
            best, found = len(at.parts), fields[2]
    return found


def _from_psutil(path: Path) -> str:
    import psutil

    parts = [p for p in psutil.disk_partitions(all=True) if path.is_relative_to(p.mountpoint)]
    return str(max(parts, key=lambda p: len(p.mountpoint)).fstype) if parts else ""


def is_network(kind: str) -> bool:
    """Whether a file system of this type is shared by machines, so that WAL's shared memory does not reach.

    >>> is_network("nfs4"), is_network("ext4")
    (True, False)
    """
    return kind.lower() in _NETWORK
