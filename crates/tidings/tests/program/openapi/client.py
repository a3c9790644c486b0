"""Uses the generated client as its user would; prints the delivery."""

import json
import sys
import time

from tidings_client import AuthenticatedClient
from tidings_client.api.channels import channels_create
from tidings_client.api.deliveries import deliveries_list, deliveries_one
from tidings_client.api.rules import rules_create
from tidings_client.api.runs import runs_report
from tidings_client.models import ChannelDraft, RuleDraft, RunReport

url, key, receiver = sys.argv[1:]
client = AuthenticatedClient(base_url=url, token=key, raise_on_unexpected_status=True)
workspace = "default"


def answer(response):
    assert response.parsed is not None, response
    return response.parsed


channel = ChannelDraft.from_dict({"name": "hook", "type": "webhook", "config": {"url": receiver}})
channel = answer(channels_create.sync_detailed(workspace, client=client, body=channel)).channel
rule = {"resourceType": "job", "resourceId": "backup", "triggers": ["failure"], "channelId": str(channel.id)}
answer(rules_create.sync_detailed(workspace, client=client, body=RuleDraft.from_dict(rule)))

run = {"resourceType": "job", "resourceId": "backup", "runId": "run-1", "status": "failure", "errorMessage": "disk full"}
accepted = answer(runs_report.sync_detailed(workspace, client=client, body=RunReport.from_dict(run)))
assert accepted.duplicate is False and accepted.deliveries.pending == 1, accepted

for _ in range(1000):
    page = answer(deliveries_list.sync_detailed(workspace, client=client, event=accepted.event_id))
    assert len(page.data) == 1, page
    if page.data[0].completed_at is not None:
        break
    time.sleep(0.02)
delivery = answer(deliveries_one.sync_detailed(workspace, page.data[0].id, client=client))
print(json.dumps(delivery.to_dict(), default=str))
