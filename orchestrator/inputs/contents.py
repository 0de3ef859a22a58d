"""Contents of inputs: by what a node may keep what it has read for one task, and give it to another.

It is for the orchestrator to say what is the same, as nodes know neither buckets nor namespaces. No two things have the
same name here that an author could have confused: what the author says is in it, and where the bytes come from too.
"""

import hashlib

from orchestrator.inputs.shares import ReadObject, SourceShare, list_name
from orchestrator.rules.location import Location

MOST_HASHED = 1024
"""Objects of which the name of a list is made, each time that a node asks. Longer lists have a digest of their own."""


def content_of(read: ReadObject) -> str:
    """What a node may keep the bytes by: the same for the same version of the same object, and for nothing else.

    The digest alone would not do. It is the job's author who says what it is, and who could name the digest of what
    another namespace has read on the node, and be given that. Nothing tells the bytes without an ETag or a digest.
    """
    each, location = read.object, read.location
    if not each.etag and not each.sha256:
        return ""
    parts = (location.bucket, location.endpoint, each.key, each.version, each.etag, str(each.size), each.sha256)
    return hashlib.sha256("\n".join(parts).encode(errors="surrogatepass")).hexdigest()


def content_of_listed(location: Location, listing: str, part: int) -> str:
    """Of that part of the list of this key, whose objects are at the location."""
    return _digest(location.bucket, location.endpoint, list_name(listing, part))


def content_of_list(share: SourceShare) -> str:
    """The same for the same objects at the same paths; empty where a node makes of them what it needs for each task."""
    if share.listed and share.location is not None:
        return _digest(share.location.bucket, share.location.endpoint, share.listed)
    if len(share.objects) > MOST_HASHED:
        return ""
    reads = share.read(0, MOST_HASHED)
    contents = [content_of(each) for each in reads]
    if not all(contents):
        return ""
    places = [(each.object.path, each.object.executable, each.archive, each.members) for each in reads]
    return _digest(contents, places)


def _digest(*parts: object) -> str:
    """As Python writes them, in which no text can be taken for two."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()
