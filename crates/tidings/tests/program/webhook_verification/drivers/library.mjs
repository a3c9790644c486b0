// Whether the library accepts each case of a file; it refuses by an exception of its own.
import { readFileSync } from "node:fs";
import { eventOf } from "./verify.mjs";

for (const { secret, headers, body } of JSON.parse(readFileSync(process.argv[2]))) {
  try {
    console.log("event" in eventOf(secret, headers, Buffer.from(body, "base64")));
  } catch (error) {
    if (error.name !== "WebhookVerificationError") throw error;
    console.log(false);
  }
}
