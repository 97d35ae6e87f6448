from __future__ import annotations

import errno
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from fsgr_tui.core.situation import same_space
from fsgr_tui.core.units import GB, Unknown
from fsgr_tui.probes.disk import LocalDisks, mount_of, parse_mountinfo, parse_quota, probe_disk

MOUNTINFO = r"""22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard
40 27 8:1 / /data rw,relatime shared:5 master:2 - xfs /dev/sda1 rw
41 40 0:50 /export /data/nfs rw,relatime - nfs4 server:/export rw,vers=4.2
42 27 0:51 / /tmp rw - tmpfs tmpfs rw,size=4k
43 27 0:52 / /run rw - tmpfs tmpfs rw
44 27 8:2 / /mnt/my\040disk\134x rw - ext4 /dev/disk/by-label/my\040disk rw
45 27 8:3 / /twice rw - autofs systemd-1 rw
46 45 0:60 / /twice rw - fuse.sshfs me@host:/srv rw
47 27 8:1 /sub /bound rw,relatime - xfs /dev/sda1 rw
"""
NO_QUOTA_COMMAND = Unknown("quota not checked: no quota command")
DAY_S = 86_400


def counts(
    *, blocks=1000, bfree=600, bavail=500, files=100, ffree=60, favail=50, frsize=4096, bsize=4096
) -> os.statvfs_result:
    return os.statvfs_result((bsize, frsize, blocks, bfree, bavail, files, ffree, favail, 0, 255))


class FakeDisks:
    """Plays one disk; an exception or a threading.Event in place of a value is raised or waited for."""

    def __init__(self, *, directory="/data", space=None, writable=True, quota=NO_QUOTA_COMMAND, mountinfo=MOUNTINFO):
        self.directory = directory
        self.space = counts() if space is None else space
        self.writable = writable
        self.quota = quota
        self.mounts = mountinfo
        self.quota_asked = 0

    @staticmethod
    def _play(value):
        if isinstance(value, threading.Event):
            value.wait()
        if isinstance(value, Exception):
            raise value
        return value

    def mountinfo(self):
        return self._play(self.mounts)

    def nearest_directory(self, path):
        return self._play(self.directory)

    def statvfs(self, directory):
        return self._play(self.space)

    def may_create_in(self, directory):
        return self.writable

    def quota_report(self):
        self.quota_asked += 1
        return self._play(self.quota)


def quota_row(mount="/data", used=0, soft=0, hard=0, grace=0, files=0, files_soft=0, files_hard=0, files_grace=0):
    numbers = f"{used} {soft} {hard} {grace} {files} {files_soft} {files_hard} {files_grace}".replace(" ", "   ")
    header = "     Filesystem  blocks   quota   limit   grace   files   quota   limit   grace"
    return f"Disk quotas for user ann (uid 1000): \n{header}\n          {mount} {numbers}\n"


# -- space and inodes -----------------------------------------------------------------------------------------------


def test_free_space_is_what_the_user_may_use_not_what_root_may():
    disk = probe_disk("/data/new", FakeDisks(space=counts(blocks=1000, bfree=600, bavail=500, frsize=1024)))
    assert (disk.total_bytes, disk.free_bytes) == (1000 * 1024, 500 * 1024)


def test_sizes_count_in_fragments_not_in_blocks():
    assert probe_disk("/data", FakeDisks(space=counts(bavail=500, frsize=512, bsize=65536))).free_bytes == 500 * 512


def test_sizes_count_in_blocks_where_the_fragment_size_is_left_out():
    assert probe_disk("/data", FakeDisks(space=counts(bavail=500, frsize=0, bsize=4096))).free_bytes == 500 * 4096


def test_five_free_inodes_are_five_however_much_space_is_free():
    disk = probe_disk("/data", FakeDisks(space=counts(bavail=10**9, ffree=900, favail=5)))
    assert disk.inodes_free == 5


def test_no_free_inodes_are_none_not_unknown():
    assert probe_disk("/data", FakeDisks(space=counts(files=100, ffree=0, favail=0))).inodes_free == 0


def test_a_file_system_without_an_inode_count_is_unknown_not_full():
    disk = probe_disk("/data", FakeDisks(space=counts(files=0, ffree=0, favail=0)))
    assert disk.inodes_free == Unknown("this file system reports no inode count")


def test_a_file_system_without_a_size_is_unknown_not_full():
    disk = probe_disk("/data", FakeDisks(space=counts(blocks=0, bfree=0, bavail=0)))
    assert disk.total_bytes == disk.free_bytes == Unknown("this file system reports no size")


def test_a_full_disk_has_nothing_free():
    assert probe_disk("/data", FakeDisks(space=counts(bavail=0))).free_bytes == 0


@pytest.mark.parametrize("writable", [True, False])
def test_writable_is_what_the_system_says(writable):
    assert probe_disk("/data", FakeDisks(writable=writable)).writable is writable


# -- disks that hang or break ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", ["directory", "space"])
def test_a_disk_that_hangs_does_not_hang_the_caller(part):
    disks = FakeDisks(**{part: threading.Event()})
    start = time.perf_counter()
    disk = probe_disk("/data/nfs/run", disks, timeout_s=0.05)
    assert time.perf_counter() - start < 1
    late = Unknown("no answer within 0.05 s")
    assert disk.total_bytes == disk.free_bytes == disk.inodes_free == disk.quota_bytes == late
    assert not disk.writable
    assert (disk.mount, disk.filesystem, disk.device) == ("/data/nfs", "nfs4", "server:/export")
    assert disks.quota_asked == 0


def test_the_default_patience_is_two_seconds():
    disks = FakeDisks(space=threading.Event())
    assert probe_disk("/data", disks).free_bytes == Unknown("no answer within 2 s")


def test_a_disk_that_refuses_is_unknown_with_the_systems_words():
    disk = probe_disk("/data/nfs/x", FakeDisks(space=OSError(errno.ESTALE, os.strerror(errno.ESTALE))))
    assert disk.free_bytes == Unknown("Stale file handle")
    assert disk.mount == "/data/nfs"


def test_a_path_that_no_file_can_have_is_unknown():
    assert probe_disk("a\0b").free_bytes == Unknown("embedded null byte")


def test_a_machine_without_mountinfo_still_has_its_space_read():
    disk = probe_disk("/data", FakeDisks(mountinfo=FileNotFoundError("no /proc")))
    assert (disk.mount, disk.filesystem, disk.free_bytes) == ("/", "unknown", 500 * 4096)


# -- mounts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "mount", "filesystem", "device"),
    [
        ("/home/ann", "/", "ext4", "/dev/vda"),
        ("/data", "/data", "xfs", "/dev/sda1"),
        ("/data/nfs/run", "/data/nfs", "nfs4", "server:/export"),
        ("/database", "/", "ext4", "/dev/vda"),
        ("/mnt/my disk\\x/a", "/mnt/my disk\\x", "ext4", "/dev/disk/by-label/my disk"),
        ("/twice/a", "/twice", "fuse.sshfs", "me@host:/srv"),
        ("/tmp/a", "/tmp", "tmpfs", "tmpfs 0:51"),
    ],
)
def test_a_path_lies_on_the_longest_and_latest_mount_before_it(path, mount, filesystem, device):
    disk = probe_disk(path, FakeDisks(directory=path))
    assert (disk.path, disk.mount, disk.filesystem, disk.device) == (path, mount, filesystem, device)


def test_a_mount_point_in_latin_1_is_kept_byte_for_byte():
    line = b"50 27 8:9 / /mnt/caf\xe9 rw - ext4 /dev/sdz rw\n".decode("utf-8", "surrogateescape")
    mount = mount_of(os.fsdecode(b"/mnt/caf\xe9/x"), parse_mountinfo(line))
    assert mount is not None
    assert os.fsencode(mount.point) == b"/mnt/caf\xe9"


def test_optional_fields_and_odd_lines_do_not_shift_the_columns():
    mounts = parse_mountinfo("garbage\n\n" + MOUNTINFO)
    assert [mount.source for mount in mounts if mount.point == "/data"] == ["/dev/sda1"]
    assert len(mounts) == len(MOUNTINFO.splitlines())


def disk_at(path: str, **changes):
    return probe_disk(path, FakeDisks(directory=path, **changes))


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("/data/a", "/data/b", True),
        ("/data", "/bound", True),
        ("/data", "/data/nfs", False),
        ("/tmp", "/run", False),  # two tmpfs are two disks, though both call their device "tmpfs"
        ("/home", "/data", False),
    ],
)
def test_paths_share_a_disk_when_their_device_is_the_same(one, other, same):
    assert same_space(disk_at(one), disk_at(other)) is same


def test_disks_of_unknown_device_are_not_called_the_same():
    unknown = disk_at("/data", mountinfo="")
    assert not same_space(unknown, unknown)


# -- quota ----------------------------------------------------------------------------------------------------------

QUOTA_100_GB_KIB = 100 * GB // 1024


def test_a_quota_smaller_than_the_free_space_is_the_budget():
    used_kib = QUOTA_100_GB_KIB - 97_000
    report = quota_row(used=used_kib, hard=QUOTA_100_GB_KIB, files=90, files_hard=100)
    disk = probe_disk("/data", FakeDisks(space=counts(bavail=3000 * GB // 4096, favail=10**6), quota=report))
    assert disk.quota_bytes == disk.free_bytes == 97_000 * 1024
    assert disk.inodes_free == 10


def test_a_quota_larger_than_the_free_space_leaves_the_free_space():
    disk = probe_disk("/data", FakeDisks(quota=quota_row(hard=QUOTA_100_GB_KIB, files_hard=10**6)))
    assert (disk.free_bytes, disk.inodes_free) == (500 * 4096, 50)
    assert disk.quota_bytes == QUOTA_100_GB_KIB * 1024


def test_a_file_quota_counts_even_where_the_file_system_has_no_inode_count():
    disk = probe_disk("/data", FakeDisks(space=counts(files=0, favail=0), quota=quota_row(files=7, files_hard=10)))
    assert disk.inodes_free == 3


def test_without_a_quota_command_the_quota_is_said_to_be_unchecked():
    disk = probe_disk("/data", FakeDisks(quota=NO_QUOTA_COMMAND))
    assert disk.quota_bytes == NO_QUOTA_COMMAND
    assert disk.free_bytes == 500 * 4096


@pytest.mark.parametrize(
    ("filesystem", "command"), [("lustre", "lfs quota"), ("gpfs", "mmlsquota"), ("beegfs", "beegfs-ctl")]
)
def test_a_file_system_with_a_quota_command_of_its_own_is_not_called_free_of_quotas(filesystem, command):
    disks = FakeDisks(
        mountinfo=f"40 27 8:1 / /data rw - {filesystem} server:/data rw\n", quota="Disk quotas for user ann: none\n"
    )
    reason = probe_disk("/data", disks).quota_bytes.reason
    assert reason.startswith("quota not checked")
    assert command in reason
    assert disks.quota_asked == 0


def test_a_quota_command_that_hangs_is_left_behind():
    start = time.perf_counter()
    disk = probe_disk("/data", FakeDisks(quota=threading.Event()))
    assert time.perf_counter() - start < 2
    assert disk.quota_bytes == Unknown("quota not checked: no answer within 1 s")
    assert disk.free_bytes == 500 * 4096


def test_a_quota_is_found_under_another_mount_point_of_the_same_device():
    disk = probe_disk("/bound/x", FakeDisks(directory="/bound", quota=quota_row("/data", used=10, hard=30)))
    assert disk.quota_bytes == 20 * 1024


@pytest.mark.parametrize("report", [quota_row("/home", hard=1), "Disk quotas for user root (uid 0): none\n"])
def test_a_quota_on_another_disk_is_not_taken(report):
    disk = probe_disk("/data", FakeDisks(quota=report))
    assert disk.quota_bytes == Unknown("the quota command names no quota on this file system")
    assert disk.free_bytes == 500 * 4096


@pytest.mark.parametrize(
    ("row", "bytes_left"),
    [
        ({"used": 10, "soft": 50, "hard": 100}, 90 * 1024),
        ({"used": 10, "soft": 50}, 40 * 1024),
        ({"used": "60*", "soft": 50, "hard": 100, "grace": 10 * DAY_S + 1}, 40 * 1024),
        ({"used": "60*", "soft": 50, "hard": 100, "grace": 10 * DAY_S}, 0),
        ({"used": "100*", "soft": 50, "hard": 100}, 0),
        ({"used": "120*", "hard": 100}, 0),
        ({"used": 10}, Unknown("the quota sets no limit on bytes")),
    ],
)
def test_the_bytes_that_a_quota_leaves(row, bytes_left):
    assert parse_quota(quota_row(**row), {"/data"}, now_s=10 * DAY_S).bytes_left == bytes_left


def test_a_quota_on_files_alone_says_so_of_bytes():
    quota = parse_quota(quota_row(used=10, files="5*", files_soft=4, files_hard=9), {"/data"}, now_s=0)
    assert (quota.bytes_left, quota.inodes_left) == (Unknown("the quota sets no limit on bytes"), 4)


def test_a_mount_point_with_spaces_has_its_quota_found():
    assert parse_quota(quota_row("/mnt/my disk", used=1, hard=3), {"/mnt/my disk"}, now_s=0).bytes_left == 2048


# -- this machine ---------------------------------------------------------------------------------------------------


def fake_quota_command(folder: Path, monkeypatch, script: str) -> None:
    command = folder / "quota"
    command.write_text(f"#!/bin/sh\n{script}\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)


def test_the_quota_command_is_asked_in_the_form_that_is_parsed(tmp_path, monkeypatch):
    fake_quota_command(tmp_path, monkeypatch, 'echo "$@ $LC_ALL"; exit 1')  # it exits 1 when over quota
    assert LocalDisks().quota_report() == "-w -p --show-mntpoint --hide-device C\n"


def test_a_quota_command_that_fails_is_quoted(tmp_path, monkeypatch):
    fake_quota_command(tmp_path, monkeypatch, 'echo "quota: no server" >&2; exit 2')
    assert LocalDisks().quota_report() == Unknown("quota not checked: quota: no server")


def test_a_quota_command_that_prints_nothing_is_told_by_its_exit_code(tmp_path, monkeypatch):
    fake_quota_command(tmp_path, monkeypatch, "exit 3")
    assert LocalDisks().quota_report() == Unknown("quota not checked: the quota command printed nothing (exit 3)")


def test_a_quota_command_that_sleeps_is_stopped_after_a_second(tmp_path, monkeypatch):
    fake_quota_command(tmp_path, monkeypatch, "exec sleep 30")
    assert LocalDisks().quota_report() == Unknown("quota not checked: no answer within 1 s")


def test_no_quota_command_is_unknown(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert LocalDisks().quota_report() == NO_QUOTA_COMMAND


def test_a_path_that_does_not_exist_yet_is_asked_at_its_nearest_parent(tmp_path):
    planned = tmp_path / "not" / "yet" / "features.hdf5"
    disk = probe_disk(planned)
    here = probe_disk(tmp_path)
    assert disk.path == str(planned)
    assert (disk.mount, disk.device, disk.writable) == (here.mount, here.device, True)
    assert not planned.parent.exists()


def test_an_existing_file_is_asked_at_its_folder(tmp_path):
    file = tmp_path / "features.hdf5"
    file.write_bytes(b"")
    assert LocalDisks().nearest_directory(str(file)) == str(tmp_path.resolve())
    assert probe_disk(file).writable


def test_symlinks_are_followed_even_when_they_lead_to_nothing(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real" / "later")
    assert LocalDisks().nearest_directory(str(tmp_path / "link" / "x")) == str((tmp_path / "real").resolve())


def test_a_symlink_loop_is_unknown(tmp_path):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert probe_disk(tmp_path / "loop").free_bytes == Unknown(os.strerror(errno.ELOOP))


def test_a_relative_path_is_taken_from_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert LocalDisks().nearest_directory("a/b") == str(tmp_path.resolve())


def test_a_working_directory_that_is_gone_is_unknown(tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert isinstance(probe_disk("a/b").free_bytes, Unknown)


@pytest.fixture
def public_folder():
    """A folder that every user can reach; pytest's own are closed to others."""
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def for_a_plain_user(question: Callable[[], bool]) -> bool:
    """The answer that a user other than root gets: root may read and write everywhere."""
    child = os.fork()
    if child == 0:
        if os.geteuid() == 0:
            os.setuid(65534)
        os._exit(0 if question() else 1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_folder_without_write_permission_is_not_writable(public_folder):
    public_folder.chmod(0o555)
    assert for_a_plain_user(lambda: os.access(public_folder, os.R_OK))
    assert for_a_plain_user(lambda: not probe_disk(public_folder / "x").writable)


def test_a_path_behind_a_closed_folder_is_asked_at_that_folder(public_folder):
    closed = public_folder / "closed"
    (closed / "inner").mkdir(parents=True)
    closed.chmod(0)
    nearest = str(closed.resolve())
    assert for_a_plain_user(lambda: LocalDisks().nearest_directory(str(closed / "inner" / "x")) == nearest)


def test_the_readings_agree_with_the_system(tmp_path):
    disk, counted = probe_disk(tmp_path), os.statvfs(tmp_path)
    assert disk.total_bytes == counted.f_blocks * counted.f_frsize
    assert os.path.ismount(disk.mount)


def test_a_disk_is_a_value_that_can_be_written_as_json(tmp_path):
    written = msgspec.json.decode(msgspec.json.encode(probe_disk(tmp_path, FakeDisks())))
    assert written["quota_bytes"] == {"unknown": "quota not checked: no quota command"}
