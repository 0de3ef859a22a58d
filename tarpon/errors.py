"""Errors: what a program that uses Tarpon can catch, whatever raises it.

    TarponError
    |- InvalidInput               the request itself is wrong; repeating it will not help
    |  |- InvalidDocument, NotAFile, TooMuchChosen, TooManyFilesToRead, ResultIsPlain
    |  |- NothingToSend, CannotBeSent, FileUnreadable, TreeTooLarge
    |  '- OtherPython, ValueNotData
    |- NotFound                   what was asked for does not exist
    |  '- NoResults, FileNotInResult, OutputNotKept, PathNotFound, CallLost
    |- Conflict                   the present state forbids it
    |  '- JobNotEnded, IsSchedule, AlreadyFetching, ResultsInTheWay, ResultsNotMerged, ResultsNotMixed, CannotExtract,
    |     NoSpaceForResult, FileChanged, TargetInTheWay
    |- Refused                    whoever asks may not do this
    |  |- KeyNotSent, KeyNotKnownThere, TokenNotSent
    |  |- SignInNotOffered, SignInDenied, SignInTimedOut, SignInFailed, SignInOver
    |  '- SignInsOpenToOthers, SignInsUnreadable
    |- Unavailable                something that is needed is away; it may come back
    |  |- OrchestratorUnreachable
    |  |  '- OrchestratorNotTrusted, ClientCertificateRefused, OneSideEncrypts
    |  '- NotAnOrchestrator, MessagingUnavailable, IssuerUnreachable, LogsCutOff, DownloadFailed, UploadFailed
    |- Damaged                    bytes are not what was promised
    |  '- DigestMismatch, ArchiveDamaged, IndexDamaged, ManifestDamaged, NotInOrder, UnsafeArchive, ValueInvalid
    |- CallFailed                 a function raised an exception that is none of Python's own
    '- RemoteError                the orchestrator refused: `remote_code`, `message` and `hint` are its own

Each has a stable `code`, a `message` for a person, a `hint` that says what to do, and `retryable`.
"""

from shared.errors import (
    ArchiveDamaged,
    CannotExtract,
    Conflict,
    Damaged,
    DigestMismatch,
    DownloadFailed,
    InvalidDocument,
    InvalidInput,
    IsSchedule,
    MessagingUnavailable,
    NoResults,
    NotFound,
    OrchestratorUnreachable,
    Refused,
    RemoteError,
    ResultIsPlain,
    TarponError,
    Unavailable,
    UnsafeArchive,
)
from shared.extraction.archive_index import IndexDamaged
from shared.extraction.block_reading import TooMuchChosen
from shared.extraction.manifest_reading import ManifestDamaged
from shared.extraction.room import NoSpaceForResult
from tarpon.archive.links import NotAFile
from tarpon.archive.selection import FileNotInResult
from tarpon.comparison.entries import NotInOrder
from tarpon.comparison.source import TooManyFilesToRead
from tarpon.executor.problems import CallFailed, CallLost, OtherPython, ValueInvalid, ValueNotData
from tarpon.http.calls import NotAnOrchestrator
from tarpon.http.credentials import KeyNotKnownThere, KeyNotSent
from tarpon.http.live_logs import LogsCutOff
from tarpon.http.sign_in.issuer_calls import (
    IssuerUnreachable,
    SignInDenied,
    SignInFailed,
    SignInNotOffered,
    SignInOver,
    SignInTimedOut,
)
from tarpon.http.sign_in.kept import SignInsOpenToOthers, SignInsUnreadable
from tarpon.http.sign_in.signed_in import TokenNotSent
from tarpon.http.trust import ClientCertificateRefused, OneSideEncrypts, OrchestratorNotTrusted
from tarpon.http.watching import JobNotEnded
from tarpon.results.folders import ResultsInTheWay
from tarpon.results.layouts import ResultsNotMixed
from tarpon.results.merged import ResultsNotMerged
from tarpon.results.rest_of_output import OutputNotKept
from tarpon.sending.problems import (
    CannotBeSent,
    FileChanged,
    FileUnreadable,
    NothingToSend,
    PathNotFound,
    TargetInTheWay,
    TreeTooLarge,
    UploadFailed,
)
from tarpon.transfer.partial_file import AlreadyFetching

__all__ = [
    "AlreadyFetching",
    "ArchiveDamaged",
    "CallFailed",
    "CallLost",
    "CannotBeSent",
    "CannotExtract",
    "ClientCertificateRefused",
    "Conflict",
    "Damaged",
    "DigestMismatch",
    "DownloadFailed",
    "FileChanged",
    "FileNotInResult",
    "FileUnreadable",
    "IndexDamaged",
    "InvalidDocument",
    "InvalidInput",
    "IsSchedule",
    "IssuerUnreachable",
    "JobNotEnded",
    "KeyNotKnownThere",
    "KeyNotSent",
    "LogsCutOff",
    "ManifestDamaged",
    "MessagingUnavailable",
    "NoResults",
    "NoSpaceForResult",
    "NotAFile",
    "NotAnOrchestrator",
    "NotFound",
    "NotInOrder",
    "NothingToSend",
    "OneSideEncrypts",
    "OrchestratorNotTrusted",
    "OrchestratorUnreachable",
    "OtherPython",
    "OutputNotKept",
    "PathNotFound",
    "Refused",
    "RemoteError",
    "ResultIsPlain",
    "ResultsInTheWay",
    "ResultsNotMerged",
    "ResultsNotMixed",
    "SignInDenied",
    "SignInFailed",
    "SignInNotOffered",
    "SignInOver",
    "SignInTimedOut",
    "SignInsOpenToOthers",
    "SignInsUnreadable",
    "TargetInTheWay",
    "TarponError",
    "TokenNotSent",
    "TooManyFilesToRead",
    "TooMuchChosen",
    "TreeTooLarge",
    "Unavailable",
    "UnsafeArchive",
    "UploadFailed",
    "ValueInvalid",
    "ValueNotData",
]
