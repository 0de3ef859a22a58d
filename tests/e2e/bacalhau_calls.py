"""Calls of Bacalhau's generated client, made by the interpreter that has it: a program, no tests in here.

It reads `{"host": ..., "headers": ..., "calls": [[name, arguments], ...]}` from stdin, and writes to stdout what each
call returned.
"""

import json
import sys
from typing import Any

import bacalhau_apiclient
from bacalhau_apiclient import models


def main() -> None:
    asked = json.load(sys.stdin)
    configuration = bacalhau_apiclient.Configuration()
    configuration.host = asked["host"]
    client = bacalhau_apiclient.ApiClient(configuration)
    client.default_headers |= asked["headers"]
    answers = [_answer(client, name, arguments) for name, arguments in asked["calls"]]
    json.dump(client.sanitize_for_serialization(answers), sys.stdout)


def _answer(client: Any, name: str, arguments: dict[str, Any]) -> Any:
    """What the client made of the answer, in the client's own names."""
    if name == "orchestratorput_job":
        arguments = {"body": models.ApiPutJobRequest(job=_job(**arguments), idempotency_token="")}
    for api in (bacalhau_apiclient.OrchestratorApi(client), bacalhau_apiclient.OpsApi(client)):
        if hasattr(api, name):
            break
    else:
        api = bacalhau_apiclient.UtilsApi(client)
    try:
        answer = getattr(api, name)(**arguments)
    except bacalhau_apiclient.rest.ApiException as error:
        return {"status": error.status, "body": json.loads(error.body)}
    return answer.to_dict() if hasattr(answer, "to_dict") else answer


def _job(*, name: str, engine: str, params: dict[str, Any], publisher: str, labels: dict[str, str]) -> Any:
    return models.Job(
        name=name,
        type="batch",
        count=1,
        labels=labels,
        tasks=[
            models.Task(
                name="main",
                engine=models.SpecConfig(type=engine, params=params),
                publisher=models.SpecConfig(type=publisher, params={}),
                resources=models.ResourcesConfig(cpu="100m", memory="10Mb"),
                timeouts=models.TimeoutConfig(execution_timeout=60),
            )
        ],
    )


if __name__ == "__main__":
    main()
