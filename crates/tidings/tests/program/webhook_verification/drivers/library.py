"""Whether the library accepts each case of a file; it refuses by an exception of its own. Argument: the cases."""
import base64, json, sys

from standardwebhooks.webhooks import WebhookVerificationError
from verify import event_of

for case in json.load(open(sys.argv[1])):
    try:
        print(json.dumps("event" in event_of(case["secret"], case["headers"], base64.b64decode(case["body"]))))
    except WebhookVerificationError:
        print("false")
