"""The group `tarpon job ...`: which commands it has, and what they have in common."""

import click

from tarpon.cli.console import completed_names
from tarpon.cli.console.commands import Group

_LAZY = {
    "run": ("tarpon.cli.job.submission:run", "Submit the job in FILE and watch it."),
    "rerun": ("tarpon.cli.job.rerun:rerun", "Run a job again, or what has not completed of it."),
    "watch": ("tarpon.cli.job.watch:watch", "Watch a job until it has ended."),
    "schema": ("tarpon.cli.job.schema:schema", "Print the JSON Schema of job files, for editors."),
    "validate": ("tarpon.cli.job.submission:validate", "Tell whether the job in FILE is valid, and what is not."),
    "list": ("tarpon.cli.job.queries:list_jobs", "List jobs."),
    "describe": ("tarpon.cli.job.queries:describe", "Show all about one job."),
    "open": ("tarpon.cli.job.open:open_page", "Open the page in a browser, at one job."),
    "why": ("tarpon.cli.job.why:why", "Show what a job waits for: every node, and what it lacks."),
    "executions": ("tarpon.cli.job.queries:executions", "List the executions of a job."),
    "history": ("tarpon.cli.job.queries:history", "Show what happened to a job."),
    "versions": ("tarpon.cli.job.queries:versions", "List the versions of a job."),
    "logs": ("tarpon.cli.results.logs:logs", "Print what the tasks of a job wrote."),
    "get": ("tarpon.cli.results.get:get", "Download, verify and extract the results of a job."),
    "files": ("tarpon.cli.results.files:files", "List what is in the result of a job."),
    "cat": ("tarpon.cli.results.files:cat", "Print one file of the result of a job."),
    "compare": ("tarpon.cli.results.compare:compare", "Tell how two results differ, and where."),
    "verify": ("tarpon.cli.results.verify:verify", "Verify what nodes have signed of the results of a job."),
    "url": ("tarpon.cli.results.url:url", "Print the signed URLs of the results of a job."),
    "delete": ("tarpon.cli.job.delete:delete", "Delete ended jobs and, if asked, their results."),
    "stop": ("tarpon.cli.job.stop:stop", "Stop a job."),
    "schedule": ("tarpon.cli.job.schedule:schedule", "Pause and resume schedules, and run them at once."),
}

job_argument = click.argument("job", metavar="JOB", shell_complete=completed_names.jobs)
job_or_path_argument = click.argument("job", metavar="JOB", shell_complete=completed_names.jobs_with_paths)
job_or_folder_argument = click.argument("job", metavar="JOB|FOLDER", shell_complete=completed_names.jobs)
FOLDER_BEGINS = (".", "/")
"""What is written so is a folder of this machine, and no job."""
namespace_option = click.option("--namespace", default="", help="The namespace, if JOB is a name in another one.")


@click.group(cls=Group, lazy=_LAZY)
def job() -> None:
    """Submit, watch, list and stop jobs; get their results. JOB is an id, the beginning of one, or a name."""
