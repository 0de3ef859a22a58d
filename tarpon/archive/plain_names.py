"""Plain names of members: as readers compare them, without what leads nowhere."""

from msgspec.structs import replace

from shared.extraction.member_names import components_of
from shared.extraction.tar_reader import Member, MemberKind


def plainly_named(member: Member) -> Member | None:
    """The member with a plain name and, of a hard link, a plain target; None for the folder of the result itself.

    Raises UnsafeArchive for a name that could leave the target.
    """
    name = b"/".join(components_of(member.name))
    if not name:
        return None
    if member.kind is MemberKind.HARD_LINK:
        return replace(member, name=name, link_target=b"/".join(components_of(member.link_target)))
    return member if name == member.name else replace(member, name=name)
