"""Archives whose bytes follow from their files alone: sorted, one time, no owner, no name of a machine."""

import gzip
import io
import tarfile
import time
import zipfile


def tarball(files, folder, epoch):
    """A .tar.gz of files below a folder; `epoch` is the time of all of them."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name in sorted({parent for file in files for parent in parents(f"{folder}/{file.path}")}):
            member = tarfile.TarInfo(name)
            member.type, member.mode, member.mtime = tarfile.DIRTYPE, 0o755, epoch
            tar.addfile(root_owned(member))
        for file in sorted(files, key=lambda file: file.path):
            member = tarfile.TarInfo(f"{folder}/{file.path}")
            member.size, member.mode, member.mtime = len(file.data), file.mode, epoch
            tar.addfile(root_owned(member), io.BytesIO(file.data))
    return gzip.compress(packed.getvalue(), 9, mtime=epoch)


def zipped(files, epoch):
    """A .zip of files, as Lambda takes it: with the mode of each."""
    packed = io.BytesIO()
    # The format knows no time zone and no second that is odd.
    moment = max(time.gmtime(epoch)[:6], (1980, 1, 1, 0, 0, 0))
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for file in sorted(files, key=lambda file: file.path):
            member = zipfile.ZipInfo(file.path, moment)
            member.compress_type = zipfile.ZIP_DEFLATED
            member.create_system = 3  # Unix: so the mode counts
            member.external_attr = (0o100000 | file.mode) << 16
            archive.writestr(member, file.data, compresslevel=9)
    return packed.getvalue()


def parents(path):
    """All folders above a path, the outermost first."""
    parts = path.split("/")[:-1]
    return ["/".join(parts[: count + 1]) for count in range(len(parts))]


def root_owned(member):
    """The same member, owned by root."""
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    return member
