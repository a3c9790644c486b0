// Applies the function to every case of a file, and prints the answers.
import { readFileSync } from "node:fs";
import { isFromTidings } from "./verify.mjs";

for (const { secret, headers, body } of JSON.parse(readFileSync(process.argv[2]))) {
  console.log(isFromTidings(secret, headers, Buffer.from(body, "base64")));
}
